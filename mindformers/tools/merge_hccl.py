"""Join rank tables of several machines: ``python mindformers/tools/merge_hccl.py hccl_8p_*.json``.

Ranks are counted anew, from 0, in the order of the files; hccl_{servers}s_{devices}p.json goes into the current folder.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import sys
from pathlib import Path
from typing import Dict, List, Optional, Sequence

from mindformers.errors import MindFormersError, UsageError
from mindformers.parallel.rank_table import Server, read_rank_table, table_text


def main(arguments: Optional[Sequence[str]] = None) -> int:
    """Carry out the command; returns the exit code."""
    parser = argparse.ArgumentParser(description="Join the rank tables of several machines.")
    parser.add_argument("file_list", nargs="+", help="tables that hccl_tools.py wrote, in the order of ranks")
    try:
        servers = joined(parser.parse_args(arguments).file_list)
    except MindFormersError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    count = sum(len(server.devices) for server in servers)
    path = Path.cwd() / f"hccl_{len(servers)}s_{count}p.json"
    path.write_text(table_text(servers), encoding="utf-8")
    print(f"Completed: the rank table is {path}")
    return 0


def joined(files: Sequence[str]) -> List[Server]:
    """Return the servers of all tables with ranks of their own; raises ConfigError, UsageError."""
    origin: Dict[str, str] = {}
    ranks = itertools.count()
    servers = []
    for file in files:
        for server in read_rank_table(file).servers:
            if server.server_id in origin:
                raise UsageError(f"{file}: server {server.server_id} stands in {origin[server.server_id]} already")
            origin[server.server_id] = file
            devices = tuple(dataclasses.replace(device, rank=next(ranks)) for device in server.devices)
            servers.append(dataclasses.replace(server, devices=devices))
    return servers


if __name__ == "__main__":
    sys.exit(main())
