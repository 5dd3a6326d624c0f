"""Which checkpoints of a run stay on disk, and whose name a new one may take."""

from __future__ import annotations

import math
import shutil
from pathlib import Path
from typing import List, Sequence

from mindformers.errors import OutputError
from mindformers.train.checkpoint_files import (
    MANIFEST,
    NAME,
    REPLACED,
    TEMPORARY,
    CheckpointEntry,
    list_checkpoints,
    process_mark,
    reason,
)


def remove_outdated(
    folder: Path, run_id: str, rank: int, keep: int, keep_best: int = 0, larger_is_better: bool = True
) -> List[Path]:
    """Delete all but the `keep` newest and the `keep_best` best checkpoints of this run and rank; return the deleted.

    A folder without a readable state of this run is never touched. The manifest goes first, so that a deletion cut
    short leaves no folder that looks whole.
    """
    own = [entry for entry in list_checkpoints(folder, rank) if entry.run_id == run_id]
    stay = own[max(0, len(own) - keep) :] + best_of(own, keep_best, larger_is_better)
    outdated = [entry.path for entry in own if entry not in stay]
    try:
        for path in outdated:
            (path / MANIFEST).unlink(missing_ok=True)
            shutil.rmtree(path)
    except OSError as error:
        raise OutputError(f"{path}: the outdated checkpoint could not be removed: {reason(error)}") from error
    return outdated


def best_of(entries: Sequence[CheckpointEntry], number: int, larger_is_better: bool) -> List[CheckpointEntry]:
    """Return the `number` entries with the best scores, the best first; of equal ones the earlier."""
    scored = [entry for entry in entries if entry.metric is not None and math.isfinite(entry.metric)]
    return sorted(scored, key=lambda entry: -entry.metric if larger_is_better else entry.metric)[:number]


def remove_abandoned(folder: Path, prefix: str, rank: int) -> None:
    """Delete temporary folders of this prefix and rank that a killed process left behind.

    One that was moved away for a new checkpoint of its name, which then did not come, gets its name back.
    """
    for path in Path(folder).glob(f"{TEMPORARY}*"):
        name, _, mark = path.name[len(TEMPORARY) :].rpartition(".")
        replaced = name.endswith(REPLACED)
        name = name[: -len(REPLACED)] if replaced else name
        match = NAME.fullmatch(name)
        ours = match and match.group("prefix") == prefix and int(match.group("rank")) == rank
        process = mark.partition("-")[0]
        if not ours or not process.isdigit() or mark == process_mark(int(process)):
            continue
        if replaced and not (Path(folder) / name).exists():
            path.rename(Path(folder) / name)
        else:
            shutil.rmtree(path)


def free_prefix(folder: Path, prefix: str, rank: int, run_id: str) -> str:
    """Return `prefix`, or `prefix`_1, _2, ... when checkpoints of another run in `folder` already carry it."""
    taken = {entry.prefix for entry in list_checkpoints(folder, rank) if entry.run_id != run_id}
    candidate, number = prefix, 0
    while candidate in taken:
        number += 1
        candidate = f"{prefix}_{number}"
    return candidate
