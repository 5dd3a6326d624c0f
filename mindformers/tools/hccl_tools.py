"""Write the rank table of this machine: ``python mindformers/tools/hccl_tools.py --device_num "[0,8)"``.

The file hccl_{n}p_{devices}_{address}.json goes into the current folder; `merge_hccl.py` joins those of several.
"""

from __future__ import annotations

import argparse
import re
import shutil
import socket
import subprocess
import sys
from pathlib import Path
from typing import Dict, List, Optional, Sequence

from mindformers.errors import MindFormersError, UsageError
from mindformers.parallel.rank_table import Device, Server, device_range, table_text

CONFIGURED = Path("/etc/hccn.conf")
"""Where the driver notes the addresses of devices: lines ``address_0=192.168.100.101``."""


def main(arguments: Optional[Sequence[str]] = None) -> int:
    """Carry out the command; returns the exit code."""
    parser = argparse.ArgumentParser(description="Write the rank table of this machine.")
    parser.add_argument("--device_num", default="[0,8)", help='devices a to b - 1, as "[a,b)"')
    parser.add_argument("--visible_devices", default="0,1,2,3,4,5,6,7", help="numbers on the board, in their order")
    parser.add_argument("--server_ip", default="", help="address of this machine; default: that of its host name")
    given = parser.parse_args(arguments)
    try:
        server = this_server(given.device_num, given.visible_devices, given.server_ip)
    except MindFormersError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    numbers = "".join(str(number) for number in device_range(given.device_num, "--device_num"))
    path = Path.cwd() / f"hccl_{len(server.devices)}p_{numbers}_{server.server_id}.json"
    path.write_text(table_text([server]), encoding="utf-8")
    for device in server.devices:
        print(f"rank_id:{device.rank}, device_id:{device.device_id}, device_ip:{device.device_ip}")
    print(f"Completed: the rank table is {path}")
    return 0


def this_server(device_num: str, visible_devices: str, server_ip: str = "") -> Server:
    """Return this machine with the devices of the range `device_num`, counted among `visible_devices`."""
    wanted = device_range(device_num, "--device_num")
    if wanted.start < 4 < wanted.stop and (wanted.start, wanted.stop) not in ((0, 8), (0, 16)):
        raise UsageError(
            f"--device_num {device_num} takes devices of both groups of four; accepted: ranges within [0,4) or [4,8), "
            "or all: [0,8), [0,16)"
        )
    visible = [item.strip() for item in visible_devices.split(",")]
    if wanted.stop > len(visible) or not all(item.isdecimal() for item in visible):
        raise UsageError(
            f"--device_num {device_num} needs {wanted.stop} numbers in --visible_devices, which is '{visible_devices}'"
        )
    chosen = [int(visible[number]) for number in wanted]
    addresses = device_addresses(chosen)
    devices = tuple(Device(number, addresses[number], rank) for rank, number in enumerate(chosen))
    return Server(server_ip or _own_address(), devices)


def device_addresses(devices: List[int]) -> Dict[int, str]:
    """Return the addresses of devices, from the driver's tool or else its file; raises UsageError without them."""
    found = {number: _asked(number) for number in devices} if shutil.which("hccn_tool") else {}
    if not all(found.get(number) for number in devices):
        text = CONFIGURED.read_text(encoding="utf-8") if CONFIGURED.is_file() else ""
        lines = re.findall(r"^\s*address_(\d+)\s*=\s*(\S+)", text, re.MULTILINE)
        found = {int(number): address for number, address in lines}
    missing = [str(number) for number in devices if not found.get(number)]
    if missing:
        raise UsageError(
            f"no address of device {', '.join(missing)}: neither hccn_tool nor {CONFIGURED} names it. "
            "On a machine without Ascend devices no table is needed: mindformers launch CONFIG --ranks N"
        )
    return found


def _asked(number: int) -> str:
    answer = subprocess.run(["hccn_tool", "-i", str(number), "-ip", "-g"], capture_output=True, text=True).stdout
    match = re.search(r"ipaddr:\s*(\S+)", answer)
    return match[1] if match else ""


def _own_address() -> str:
    name = socket.gethostname()
    try:
        return socket.gethostbyname(name)
    except OSError:
        raise UsageError(f"the host name {name} does not resolve; give --server_ip") from None


if __name__ == "__main__":
    sys.exit(main())
