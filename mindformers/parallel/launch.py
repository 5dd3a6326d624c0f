"""Which processes a job needs on this machine, and how each learns its rank; `launch_processes` starts them.

Ranks find each other through MindSpore's dynamic cluster (a scheduler process on the first machine), with a rank table
on Ascend through the table itself.
"""

from __future__ import annotations

import errno
import os
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Dict, List, Optional, Sequence, Tuple

from mindformers.config.schema import RunConfig
from mindformers.errors import UsageError
from mindformers.parallel.rank_table import RankTable, device_range, read_rank_table

PORT = 18118
"""Where the scheduler of several machines listens unless told otherwise. (Not msrun's 8118: from there on the ranks of
any job take ports of their own.)"""
JOIN_SECONDS = "600"
"""How long ranks wait for the others, unless MS_TOPO_TIMEOUT says."""
SCHEDULER = "import mindspore; mindspore.set_device('CPU'); from mindspore.communication import init; init()"


@dataclass(frozen=True)
class Wanted:
    """The flags of the command."""

    ranks: Optional[int] = None
    """Ranks of the whole job."""
    rank_table: Optional[str] = None
    device_range: Optional[str] = None
    """Devices of this machine, ``[a,b]``. With `ranks` these are ranks instead, as r0.3's script has it."""
    nodes: int = 1
    node_rank: Optional[int] = None
    scheduler: Optional[str] = None
    """HOST or HOST:PORT of the first machine."""


@dataclass(frozen=True)
class Member:
    """One rank of this machine."""

    rank: int
    device: int
    number: int
    """Of its folder of logs: its place in DEVICE_RANGE, else its rank."""


@dataclass(frozen=True)
class Group:
    """This machine's share of a job."""

    members: Tuple[Member, ...]
    ranks: int
    """Of the whole job."""
    host: str
    """Name or address of the machine with the scheduler."""
    port: Optional[int]
    """None for any that is free."""
    hosts_scheduler: bool
    table: Optional[RankTable] = None


@dataclass(frozen=True)
class Process:
    """A process to start."""

    name: str
    folder: str
    """Of its log, below the folder of logs."""
    command: Tuple[str, ...]
    """Arguments of Python: ``-m`` with a module, or ``-c`` with code, and what follows."""
    environment: Dict[str, str]
    """What it gets beside this process's own."""


def processes(run: RunConfig, config: str, arguments: Sequence[str], wanted: Wanted) -> List[Process]:
    """Return the scheduler, when it belongs here, and the ranks of this machine.

    `arguments` are those of ``mindformers run``. Raises UsageError and ConfigError for flags, tables, addresses and
    numbers of ranks that do not fit together or with the layout of `run`.
    """
    group = _from_table(wanted) if wanted.rank_table is not None else _from_numbers(wanted)
    _check_layout(run, config, group.ranks)
    on_ascend = _on_ascend(run.context.device_target)
    shared = {"RANK_SIZE": str(group.ranks)}
    if group.table is not None:
        shared["RANK_TABLE_FILE"] = str(group.table.path.resolve())
    made = []
    if not (on_ascend and group.table is not None):
        shared.update(_cluster(group))
        if group.hosts_scheduler:
            environment = {**shared, "MS_ROLE": "MS_SCHED"}
            made.append(Process("scheduler", "mf_scheduler", ("-c", SCHEDULER), environment))
    run_one = ("-m", "mindformers.cli", "run", *arguments, "--use_parallel=True")
    for member in group.members:
        own = {"RANK_ID": str(member.rank), "DEVICE_ID": str(member.device)}
        if "MS_SCHED_HOST" in shared:
            own.update(MS_ROLE="MS_WORKER", MS_NODE_ID=str(member.rank))
        command = (*run_one, f"--device_id={member.device}") if on_ascend else run_one
        made.append(Process(f"rank {member.rank}", f"mf_parallel{member.number}", command, {**shared, **own}))
    return made


def _from_numbers(wanted: Wanted) -> Group:
    """Return the share of one of `nodes` machines that each start as many ranks."""
    ranks, nodes, node = wanted.ranks, wanted.nodes, wanted.node_rank or 0
    if wanted.device_range is not None:
        raise UsageError(f"--device_range {wanted.device_range} chooses devices of a rank table; give --rank_table")
    if ranks is None or ranks < 1:
        given = "is missing" if ranks is None else f"is {ranks}"
        raise UsageError(f"--ranks {given}; say how many processes the job has, at least 1, or give --rank_table")
    if nodes < 1 or ranks % nodes:
        raise UsageError(f"--nodes {nodes} does not divide --ranks {ranks}; machines start as many ranks each")
    if nodes > 1 and (wanted.node_rank is None or wanted.scheduler is None):
        raise UsageError(
            f"--nodes {nodes} needs --scheduler HOST[:PORT], the address of machine 0, and --node_rank, the number of "
            f"this machine from 0 to {nodes - 1}"
        )
    if not 0 <= node < nodes:
        raise UsageError(f"--node_rank is {node}; accepted: 0 to {nodes - 1}")
    share = ranks // nodes
    members = tuple(Member(node * share + i, i, node * share + i) for i in range(share))
    host, port = _address(wanted.scheduler, "127.0.0.1", nodes > 1)
    return Group(members, ranks, host, port, node == 0)


def _from_table(wanted: Wanted) -> Group:
    if wanted.nodes != 1 or wanted.node_rank is not None:
        raise UsageError("--nodes and --node_rank: a rank table says which machines there are; leave them out")
    if not wanted.rank_table:
        raise UsageError("--rank_table is empty; is the variable that should name the file unset?")
    table = read_rank_table(wanted.rank_table)
    if wanted.device_range is None:
        members = _of_this_machine(table)
        ranks = table.num_ranks if wanted.ranks is None else wanted.ranks
    else:
        members, ranks = _of_range(wanted.device_range, wanted.ranks)
    if ranks != table.num_ranks:
        raise UsageError(
            f"{table.path} has {table.num_ranks} devices, and the job {ranks} ranks; give a table of all its devices, "
            f"or RANK_SIZE (--ranks) {table.num_ranks}"
        )
    servers = {_require(table, member) for member in members}
    if len(servers) > 1:
        raise UsageError(
            f"DEVICE_RANGE {wanted.device_range} takes devices of the servers {', '.join(sorted(servers))} of "
            f"{table.path}; each machine starts its own"
        )
    first = table.servers[0].server_id
    host, port = _address(wanted.scheduler, first, len(table.servers) > 1)
    return Group(members, ranks, host, port, servers == {first}, table)


def _of_range(text: str, ranks: Optional[int]) -> Tuple[Tuple[Member, ...], int]:
    """Return members and size as r0.3's script counts them."""
    numbers = device_range(text, "DEVICE_RANGE")
    if ranks is None:
        return tuple(Member(i - numbers.start, i, i) for i in numbers), len(numbers)
    return tuple(Member(i, i - numbers.start, i) for i in numbers), ranks


def _of_this_machine(table: RankTable) -> Tuple[Member, ...]:
    here = [server for server in table.servers if len(table.servers) == 1 or _is_here(server.server_id)]
    if len(here) != 1:
        ids = ", ".join(server.server_id for server in here or table.servers)
        found = f"all of {ids} are addresses" if here else f"none of {ids} is an address"
        raise UsageError(f"{table.path}: {found} of this machine; say with --device_range and --ranks what it starts")
    return tuple(Member(device.rank, device.device_id, device.rank) for device in here[0].devices)


def _require(table: RankTable, member: Member) -> str:
    """Return the server that the table gives a member's rank; raises UsageError when it has another device there."""
    try:
        server, device = table.find(member.rank)
    except KeyError:
        raise UsageError(f"{table.path} has {table.num_ranks} devices and no rank {member.rank}") from None
    if device.device_id != member.device:
        raise UsageError(
            f"DEVICE_RANGE gives rank {member.rank} the device {member.device}, and {table.path} the device "
            f"{device.device_id} of {server.server_id}; several machines need RANK_SIZE and the range of their ranks"
        )
    return server.server_id


def _check_layout(run: RunConfig, config: str, ranks: int) -> None:
    sizes = run.parallel_config
    needed = sizes.data_parallel * sizes.model_parallel * sizes.pipeline_stage
    if needed not in (1, ranks):  # 1: nobody wrote a layout, every rank is one more way of data
        raise UsageError(
            f"RANK_SIZE (--ranks) is {ranks}, but {config} lays a job out on {needed} devices: data_parallel "
            f"{sizes.data_parallel} x model_parallel {sizes.model_parallel} x pipeline_stage {sizes.pipeline_stage}; "
            f"start {needed} ranks or change parallel_config (`mindformers plan {config} --devices {ranks}` helps)"
        )


def _address(scheduler: Optional[str], host: str, several: bool) -> Tuple[str, Optional[int]]:
    if scheduler is None:
        return host, PORT if several else None
    name, colon, port = scheduler.partition(":")
    if not name or (colon and not (port.isdecimal() and 1024 <= int(port) <= 65535)):
        raise UsageError(f"--scheduler is '{scheduler}'; write HOST or HOST:PORT with a port from 1024 to 65535")
    return name, int(port) if port else PORT


def _cluster(group: Group) -> Dict[str, str]:
    """Return what tells every process of the job where its scheduler listens; raises UsageError when it cannot."""
    try:
        address = socket.gethostbyname(group.host)
    except OSError as error:
        raise UsageError(
            f"the host '{group.host}' of the scheduler does not resolve: {error.strerror}; give the address of "
            "machine 0 with --scheduler, or name the host in /etc/hosts"
        ) from None
    port = group.port or 0
    if group.hosts_scheduler:
        port = _free_port(address, port)
    return {
        "MS_WORKER_NUM": str(group.ranks),
        "MS_SCHED_HOST": address,
        "MS_SCHED_PORT": str(port),
        "MS_TOPO_TIMEOUT": os.environ.get("MS_TOPO_TIMEOUT", JOIN_SECONDS),
    }


def _free_port(address: str, port: int) -> int:
    """Return `port`, or any for 0, when a scheduler can listen there."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
            return probe.getsockname()[1]
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                what = "is in use, by another job perhaps; choose another port with --scheduler HOST:PORT"
            else:
                what = f"cannot be listened at: {error.strerror}; the scheduler runs on machine 0, is this it?"
            raise UsageError(f"port {port} of {address} {what}") from None


def _is_here(host: str) -> bool:
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.bind((socket.gethostbyname(host), 0))
    except OSError:
        return False
    return True


def _on_ascend(target: str) -> bool:
    return target == "Ascend" or target == "auto" and any(Path("/dev").glob("davinci[0-9]*"))
