"""Communication operators of a graph that MindSpore compiled, read from the text that it writes of it (`.ir`)."""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from typing import Counter as CounterOf
from typing import Dict, Iterable, List, Tuple

from mindformers.parallel.mesh import Group

KINDS = {
    "AllReduce": "all-reduce",
    "AllGather": "all-gather",
    "ReduceScatter": "reduce-scatter",
    "Send": "send",
    "Receive": "receive",
    "Broadcast": "broadcast",
    "AllToAll": "all-to-all",
    "AlltoAll": "all-to-all",
    "NeighborExchange": "exchange",
}
Operation = Tuple[str, Group]
"""Kind, and the ranks that take part."""

_GRAPH = re.compile(r"^subgraph @(\S+?)\(")
_CALL = re.compile(r"^ *%\S+\([^)]*\) = (?:call |Partial\()@([^\s(,)]+)")
_OPERATOR = re.compile(r"^ *%\S+\([^)]*\) = (?:PrimFunc_)?(\w+)\(")
_RANKS = re.compile(r"group_rank_ids: \(([\d, ]*)\)")
_SHAPE = re.compile(r"Tensor\[\w+\]\]?, \(([\d, ]*)\)")


def operations(lines: Iterable[str]) -> CounterOf[Operation]:
    """Count the communication of one step; sums of single numbers, as of losses and norms, are left out.

    A graph that is called several times, as that of a model for each micro-batch, counts each time.
    """
    own: Dict[str, CounterOf[Operation]] = defaultdict(Counter)
    calls: Dict[str, List[str]] = defaultdict(list)
    graph, pending = "", None
    for line in lines:
        if pending is not None:
            sizes = [_size(text) for text in _SHAPE.findall(line)]
            if max(sizes, default=1) > 1:
                own[graph][pending] += 1
            pending = None
        found = _GRAPH.match(line)
        if found:
            graph = found[1]
            continue
        called = _CALL.match(line)
        if called:
            calls[graph].append(called[1])
            continue
        operator = _OPERATOR.match(line)
        if operator and operator[1] in KINDS:
            ranks = _RANKS.search(line)
            group = tuple(int(rank) for rank in re.findall(r"\d+", ranks[1])) if ranks else ()
            pending = (KINDS[operator[1]], group)
    total: CounterOf[Operation] = Counter()
    for name, times in _runs(calls, own).items():
        for operation, count in own[name].items():
            total[operation] += times * count
    return total


def _size(text: str) -> int:
    return math.prod(int(number) for number in re.findall(r"\d+", text))


def _runs(calls: Dict[str, List[str]], own: Iterable[str]) -> Dict[str, int]:
    """Return how often each graph runs: once where nothing calls it, else as often as its callers together."""
    callers: Dict[str, List[str]] = defaultdict(list)
    for caller, names in calls.items():
        for name in names:
            callers[name].append(caller)
    runs: Dict[str, int] = {}

    def count(name: str) -> int:
        if name not in runs:
            runs[name] = sum(count(caller) for caller in callers[name]) if name in callers else 1
        return runs[name]

    return {name: count(name) for name in {*calls, *own}}
