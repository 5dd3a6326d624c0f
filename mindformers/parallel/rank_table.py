"""Rank tables: the JSON file that tells Ascend's collective library which device of which server is which rank."""

from __future__ import annotations

import ipaddress
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, Iterator, List, Mapping, Sequence, Tuple, Union

from mindformers.config.source import KeyPath, Layer, dotted, read_text
from mindformers.errors import ConfigError, Problem, UsageError

VERSION, COMPLETED = "1.0", "completed"
_RANGE = re.compile(r"\s*\[\s*(\d+)\s*,\s*(\d+)\s*[\])]\s*")


@dataclass(frozen=True)
class Device:
    """One device of a server."""

    device_id: int
    """Its number on the server."""
    device_ip: str
    """Address of its own network port."""
    rank: int


@dataclass(frozen=True)
class Server:
    """One machine."""

    server_id: str
    """Its address or host name."""
    devices: Tuple[Device, ...]


@dataclass(frozen=True)
class RankTable:
    """All machines of a job."""

    path: Path
    servers: Tuple[Server, ...]

    @property
    def num_ranks(self) -> int:
        """Devices of all servers; their ranks run from 0."""
        return sum(len(server.devices) for server in self.servers)

    def find(self, rank: int) -> Tuple[Server, Device]:
        """Return the server and the device of a rank; raises KeyError for one that the table does not have."""
        for server in self.servers:
            for device in server.devices:
                if device.rank == rank:
                    return server, device
        raise KeyError(rank)


def read_rank_table(path: Union[str, Path]) -> RankTable:
    """Return the checked table of a file. Raises ConfigError with every problem and the line it stands in."""
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
        tree = json.loads(text)
    except json.JSONDecodeError as error:
        raise ConfigError([Problem("", f"not valid JSON: {error.msg}", f"{path}:{error.lineno}")]) from None
    except (OSError, UnicodeDecodeError) as error:
        message = f"the rank table cannot be read: {getattr(error, 'strerror', None) or error}"
        raise ConfigError([Problem("", message, str(path))]) from None
    if not isinstance(tree, dict):
        raise ConfigError([Problem("", "a rank table is an object with server_list", f"{path}:1")])
    # JSON is YAML once no tab stands between its tokens (strings hold none), and that reader knows the lines.
    check = _Check(read_text(text.replace("\t", " "), str(path)))
    servers = check.servers(tree)
    if check.problems:
        raise ConfigError(check.problems)
    return RankTable(path, servers)


def table_text(servers: Sequence[Server]) -> str:
    """Return the JSON of a table of `servers`."""
    listed = [
        {
            "server_id": server.server_id,
            "device": [
                {"device_id": str(item.device_id), "device_ip": item.device_ip, "rank_id": str(item.rank)}
                for item in server.devices
            ],
            "host_nic_ip": "reserve",
        }
        for server in servers
    ]
    table = {"version": VERSION, "server_count": str(len(servers)), "server_list": listed, "status": COMPLETED}
    return json.dumps(table, indent=4) + "\n"


def device_range(text: str, name: str) -> range:
    """Return the devices of ``[a,b]`` or ``[a,b)``, from a to b - 1; `name` is the argument that says so."""
    match = _RANGE.fullmatch(text)
    if match is None or int(match[1]) >= int(match[2]):
        raise UsageError(f"{name} is '{text}'; write [a,b] for the devices a to b - 1, e.g. [0,8]")
    return range(int(match[1]), int(match[2]))


class _Check:
    """Turns the tree of a table into servers and notes what is wrong with it."""

    def __init__(self, layer: Layer):
        self.problems: List[Problem] = []
        self._origins = layer.origins
        self._seen: Dict[Tuple[object, ...], KeyPath] = {}

    def servers(self, tree: Mapping[str, Any]) -> Tuple[Server, ...]:
        servers = tuple(self._server(item, place) for item, place in self._items(tree, "server_list", ()))
        count = self._number(tree, "server_count", ())
        if count != len(servers) and not self.problems:
            self._note(("server_count",), f"is {count}, but server_list has {len(servers)}")
        if tree.get("status", COMPLETED) != COMPLETED:
            self._note(("status",), f"is '{tree['status']}'; a table that is ready says '{COMPLETED}'")
        ranks = {device.rank for server in servers for device in server.devices}
        if not self.problems and ranks != set(range(len(ranks))):
            gap = min(set(range(len(ranks))) - ranks)
            highest = self._seen["rank", max(ranks)]
            self._note(highest, f"is {max(ranks)}, but no device has rank {gap}; ranks run from 0 to {len(ranks) - 1}")
        return servers

    def _server(self, item: Mapping[str, Any], place: KeyPath) -> Server:
        server_id = self._text(item, "server_id", place)
        self._once(("server", server_id), (*place, "server_id"), f"server {server_id}")
        devices = tuple(self._device(device, where, server_id) for device, where in self._items(item, "device", place))
        return Server(server_id, devices)

    def _device(self, item: Mapping[str, Any], place: KeyPath, server_id: str) -> Device:
        device_id, rank = (self._number(item, key, place) for key in ("device_id", "rank_id"))
        device_ip = self._text(item, "device_ip", place)
        self._once(("device", server_id, device_id), (*place, "device_id"), f"device {device_id} of {server_id}")
        self._once(("rank", rank), (*place, "rank_id"), f"rank {rank}")
        try:
            ipaddress.ip_address(device_ip)
        except ValueError:
            if device_ip:
                self._note((*place, "device_ip"), f"'{device_ip}' is no IP address")
        self._once(("ip", device_ip), (*place, "device_ip"), f"address {device_ip}")
        return Device(device_id, device_ip, rank)

    def _items(self, tree: Mapping[str, Any], key: str, place: KeyPath) -> Iterator[Tuple[Mapping[str, Any], KeyPath]]:
        found = tree.get(key)
        if not isinstance(found, list) or not found:
            self._note((*place, key), "is missing or empty; it is a list of objects")
            return
        for number, item in enumerate(found):
            where = (*place, key, number)
            if isinstance(item, dict):
                yield item, where
            else:
                self._note(where, "is no object")

    def _text(self, item: Mapping[str, Any], key: str, place: KeyPath) -> str:
        value = item.get(key)
        if isinstance(value, str) and value:
            return value
        self._note((*place, key), "is missing" if value is None else f"is {value!r}; it must be text in quotes")
        return ""

    def _number(self, item: Mapping[str, Any], key: str, place: KeyPath) -> int:
        text = self._text(item, key, place)
        if text.isdecimal():
            return int(text)
        if text:
            self._note((*place, key), f"is '{text}'; it must be a number in quotes, from 0")
        return -1

    def _once(self, thing: Tuple[object, ...], place: KeyPath, name: str) -> None:
        if thing[-1] in ("", -1):
            return
        first = self._seen.setdefault(thing, place)
        if first != place:
            self._note(place, f"{name} stands twice; first at {self._origins[first]}")

    def _note(self, place: KeyPath, message: str) -> None:
        known = place
        while known and known not in self._origins:
            known = known[:-1]
        self.problems.append(Problem(dotted(place), message, self._origins.get(known, "")))
