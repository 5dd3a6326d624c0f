"""What a process that compiles is told, and the files by which it answers."""

from __future__ import annotations

import pickle
from dataclasses import dataclass
from pathlib import Path

from mindformers.config.check import Checked
from mindformers.parallel.job import Job

ORDER, JOINED, RESULT, LOG = "order", "joined", "result.json", "log"
"""Files of the folder that both processes know: what to do; that the engine runs; what came of it; what was printed."""


@dataclass(frozen=True)
class CompileOrder:
    """One rank of a job to compile."""

    checked: Checked
    job: Job
    """With the mesh and the micro-batches that are compiled, whatever the configuration says."""
    rank: int
    target: str
    """Device that MindSpore compiles for."""
    compute_dtype: str
    """Type of activations."""


def write_order(folder: Path, order: CompileOrder) -> None:
    """Leave an order in `folder`."""
    (folder / ORDER).write_bytes(pickle.dumps(order))


def read_order(folder: Path) -> CompileOrder:
    """Return the order in `folder`, which this user's own process has left there."""
    return pickle.loads((folder / ORDER).read_bytes())
