"""Folders of runs: each run has its own below `output_dir`, and what an earlier run wrote stays.

``output_dir/runs/0001-finetune/`` holds ``rank_0/checkpoint``, ``rank_0/metrics.jsonl``, ``log/rank_0``, the run's
configuration and, in run.json, how it was started; ``output_dir/rank_0`` and ``output_dir/log`` lead to the newest
training run.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable, Dict, List, Mapping, Optional

from mindformers.errors import CheckpointError, OutputError
from mindformers.log import logger
from mindformers.train.checkpoint_files import newest_valid, path_for

RUNS = "runs"
ABOUT = "run.json"
TRAINING = ("train", "finetune")
_NAME = re.compile(r"^(\d{4,})-(\w+)$")


@dataclass(frozen=True)
class RunFolder:
    """One run's folder, seen from one rank."""

    path: Path
    rank: int = 0

    @property
    def of_rank(self) -> Path:
        """What this rank alone writes."""
        return self.path / f"rank_{self.rank}"

    @property
    def checkpoints(self) -> Path:
        """Training checkpoints of this rank."""
        return self.of_rank / "checkpoint"

    @property
    def logs(self) -> Path:
        """Log files of this rank."""
        return self.path / "log" / f"rank_{self.rank}"


def output_root(output_dir: str) -> Path:
    """Return the folder of runs; the environment's LOCAL_DEFAULT_PATH moves the default one."""
    moved = os.environ.get("LOCAL_DEFAULT_PATH")
    return Path(moved) if moved and output_dir == "./output" else Path(output_dir).expanduser()


def earlier_runs(root: Path) -> List[Path]:
    """Return the run folders below `root`, oldest first."""
    folder = root / RUNS
    found = [item for item in folder.iterdir() if _NAME.match(item.name)] if folder.is_dir() else []
    return sorted(found, key=lambda item: int(item.name.split("-")[0]))


def allocate(root: Path, mode: str, overwrite: bool = False) -> int:
    """Create the folder of a new run and return its number; no two runs share one.

    With `overwrite` the newest training run is removed first. Raises OutputError when `root` cannot be written.
    """
    try:
        if overwrite and mode in TRAINING:
            for run in [item for item in earlier_runs(root) if item.name.endswith(TRAINING)][-1:]:
                logger.warning("--overwrite: removing the earlier run %s", run)
                shutil.rmtree(run)
        while True:
            runs = earlier_runs(root)
            number = int(runs[-1].name.split("-")[0]) + 1 if runs else 1
            try:
                (root / RUNS / f"{number:04d}-{mode}").mkdir(parents=True)
                return number
            except FileExistsError:
                if not (root / RUNS).is_dir():
                    raise
    except OSError as error:
        raise _unwritable(root, error) from None


def enter(root: Path, mode: str, number: int, rank: int = 0) -> RunFolder:
    """Return the folder of run `number` as `rank` sees it, ready to be written."""
    folder = RunFolder(root / RUNS / f"{number:04d}-{mode}", rank)
    try:
        for path in (folder.of_rank, folder.logs):
            path.mkdir(parents=True, exist_ok=True)
        if mode in TRAINING and rank == 0:
            for name in (f"rank_{rank}", "log"):
                _lead_to(root / name, folder.path / name)
    except OSError as error:
        raise _unwritable(root, error) from None
    return folder


def _unwritable(root: Path, error: OSError) -> OutputError:
    return OutputError(
        f"output folder {root} cannot be written: {error.strerror or error}; choose another one with --output_dir"
    )


def describe(folder: RunFolder, model_name: Optional[str], start: Optional[Mapping[str, Any]] = None) -> None:
    """Write what a later run asks this one for, and how each of its starts was made. Raises OutputError."""
    about = folder.path / ABOUT
    starts = [*_about(folder.path).get("starts", []), *([start] if start is not None else [])]
    try:
        about.write_text(json.dumps({"model_name": model_name, "starts": starts}, indent=1) + "\n", encoding="utf-8")
    except OSError as error:
        raise _unwritable(folder.path, error) from None


def training_runs(root: Path, model_name: Optional[str] = None) -> List[Path]:
    """Return the folders of training runs of a model below `root`, oldest first; one that tells no model is any's."""
    runs = [run for run in earlier_runs(root) if run.name.endswith(TRAINING)]
    return [run for run in runs if _model_of(run) in (None, model_name)]


def checkpoints_of(run: Path) -> Callable[[int], Path]:
    """Return what tells where the checkpoints of each rank of a run are."""
    return lambda rank: RunFolder(run, rank).checkpoints


def newest_checkpoint(root: Path, rank: int = 0, model_name: Optional[str] = None) -> Path:
    """Return this rank's newest checkpoint of the runs of a model below `root` that every rank saved whole.

    A rank that its run did not have takes rank 0's. Says which damaged ones were skipped. Raises CheckpointError when
    there is none.
    """
    skipped: List[str] = []
    for run in reversed(training_runs(root, model_name)):
        entry, problems = newest_valid(checkpoints_of(run))
        skipped += problems
        if entry is not None:
            for line in skipped:
                logger.warning("skipped the damaged checkpoint %s", line)
            return path_for(entry, checkpoints_of(run), rank)
    of_model = f" of model '{model_name}'" if model_name else ""
    mismatches = skipped or [f"no training checkpoint{of_model}"]
    raise CheckpointError(str(root), mismatches, "Train first, or name the weights with --load_checkpoint.")


def _lead_to(link: Path, target: Path) -> None:
    """Let `link` lead to `target`; a real folder of that name (another tool's output) is left alone."""
    if link.is_symlink():
        link.unlink()
    elif link.exists():
        return
    target.mkdir(parents=True, exist_ok=True)
    link.symlink_to(os.path.relpath(target, link.parent), target_is_directory=True)


def _model_of(run: Path) -> Optional[str]:
    """Return the model name of a run, None when it is not told."""
    return _about(run).get("model_name")


def _about(run: Path) -> Dict[str, Any]:
    try:
        about = json.loads((run / ABOUT).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return about if isinstance(about, dict) else {}


def run_of(checkpoint: Path) -> Optional[Path]:
    """Return the run folder that a checkpoint lies in, None for one outside of any."""
    for parent in checkpoint.resolve().parents:
        if _NAME.match(parent.name) and parent.parent.name == RUNS:
            return parent
    return None
