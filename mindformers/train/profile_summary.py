"""What MindSpore's profile of some steps says in short: where the time went, and which operators took it.

MindSpore 2.10 writes one record for each operator that ran on a CPU: name, thread, begin and length, without memory,
without what happens inside of it, and a step's operators lie within `Model.train`'s call of the network. So the time
in which no operator ran is that of the engine's launches and of Python, callbacks included, once the wait for data is
taken off, which the callback measures itself.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, List, Optional, Tuple

TRACE = "trace_view.json"
KERNEL = "HostCpuOps"
"""Type of a record that is an operator on a CPU."""
KIND = re.compile(r"([^/]+?)-op\d+$")
"""The kind of an operator in its name, e.g. MatMul in Default/model/layers/MatMul-op12."""
SHOWN = 15
"""Kinds of operators in the summary."""


@dataclass(frozen=True)
class Recorded:
    """What the callback measured of the recorded steps."""

    steps: int
    seconds: float
    """From the begin of the first step to the end of the last one."""
    data_seconds: float
    """The part of it that was waited for batches."""


def summary(folder: Path, recorded: Recorded) -> Optional[str]:
    """Return lines for the newest trace in `folder`; None when it holds no operator that ran on a CPU."""
    traces = sorted(Path(folder).rglob(TRACE), key=lambda file: file.stat().st_mtime)
    kernels = _kernels(traces[-1]) if traces else []
    if not kernels:
        return None
    totals: Counter = Counter()
    calls: Counter = Counter()
    for kind, begin, end in kernels:
        totals[kind] += end - begin
        calls[kind] += 1
    busy = _covered([(begin, end) for _, begin, end in kernels]) / 1e6
    shares = {"operators": busy, "data": recorded.data_seconds}
    shares["host"] = max(recorded.seconds - sum(shares.values()), 0.0)
    shown = ", ".join(f"{name} {part / recorded.seconds:.1%}" for name, part in shares.items())
    lines = [f"{recorded.steps} steps of {1e3 * recorded.seconds / recorded.steps:.1f} ms: {shown}"]
    lines.append(f"{'operator':24} {'ms a step':>10} {'calls':>7} {'share':>7}")
    whole = sum(totals.values())
    for kind, microseconds in totals.most_common(SHOWN):
        per_step = microseconds / 1e3 / recorded.steps
        lines.append(f"{kind:24} {per_step:10.3f} {calls[kind] / recorded.steps:7.4g} {microseconds / whole:7.1%}")
    return "\n".join(lines)


def _kernels(trace: Path) -> List[Tuple[str, float, float]]:
    """Return kind, begin and end of every operator, in microseconds."""
    content: Any = json.loads(trace.read_text(encoding="utf-8"))
    events: List[Dict[str, Any]] = content["traceEvents"] if isinstance(content, dict) else content
    kernels = []
    for event in events:
        if event.get("ph") == "X" and event.get("args", {}).get("type") == KERNEL:
            named, begin = KIND.search(event["name"]), float(event["ts"])
            kernels.append((named.group(1) if named else event["name"], begin, begin + float(event["dur"])))
    return kernels


def _covered(spans: List[Tuple[float, float]]) -> float:
    """Return the length of what at least one span covers: operators of several threads run at the same time."""
    covered, reached = 0.0, float("-inf")
    for begin, end in sorted(spans):
        covered += max(end - max(begin, reached), 0.0)
        reached = max(reached, end)
    return covered
