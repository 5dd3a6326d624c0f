"""A training checkpoint as a folder: complete or absent, checked by sizes and digests, found again, cleared away.

The manifest is written last into a temporary folder, everything is flushed to the disk, then the folder gets its name
in one step. What the files hold: `mindformers.train.checkpoint`; which ones stay: `checkpoint_retention`.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Callable, List, Optional, Tuple

from safetensors import SafetensorError

from mindformers.errors import CheckpointError, OutputError

FORMAT_VERSION = 1
MANIFEST = "manifest.json"
STATE = "state.json"
TEMPORARY = ".tmp-"
REPLACED = ".old"
BLOCK = 1 << 20
NAME = re.compile(r"(?P<prefix>.+)_rank_(?P<rank>\d+)-(?P<epoch>\d+)_(?P<step>\d+)")


@dataclass(frozen=True)
class CheckpointEntry:
    """What the name and state.json of a checkpoint folder say; an unreadable state leaves the defaults."""

    path: Path
    prefix: str
    rank: int
    epoch: int
    step: int
    global_step: int = -1
    saved_at: float = 0.0
    """Seconds since 1970."""
    run_id: str = ""
    metric: Optional[float] = None
    """Score of the evaluation at this very step."""
    ranks: int = 1
    """Ranks that saved this step, each its own."""


def checkpoint_name(prefix: str, rank: int, epoch: int, step: int) -> str:
    """Return the folder name; `step` counts within the epoch, both from 1."""
    return f"{prefix}_rank_{rank}-{epoch}_{step}"


def write_folder(target: Path, fill: Callable[[Path], None], replace: bool = False) -> None:
    """Make the folder `target` whole or not at all: `fill` writes its files, the manifest is added.

    Raises:
        OutputError: naming the path and the reason when the disk is full, or anything cannot be written; nothing of
            the attempt stays. Also when `target` exists and `replace` is False.
    """
    if target.exists() and not replace:
        raise OutputError(f"{target}: exists already and belongs to another run; choose another folder or prefix")
    mark = process_mark(os.getpid())
    temporary = target.with_name(f"{TEMPORARY}{target.name}.{mark}")
    try:
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
        fill(temporary)
        _write_manifest(temporary)
        _flush_tree(temporary)
        if target.exists():
            # The name is free for an instant only; until then the old content is still there under this one.
            outdated = target.with_name(f"{TEMPORARY}{target.name}{REPLACED}.{mark}")
            target.rename(outdated)
            temporary.rename(target)
            shutil.rmtree(outdated)
        else:
            temporary.rename(target)
        _flush(target.parent)
    except (OSError, SafetensorError, OutputError) as error:
        shutil.rmtree(temporary, ignore_errors=True)
        raise OutputError(
            f"{target}: the checkpoint could not be written: {reason(error)}. Earlier checkpoints are untouched"
        ) from error
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


def process_mark(process: int) -> Optional[str]:
    """Return what tells a running process from all others, a later one with its number included; None if none runs."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return None
    except PermissionError:  # it runs, as another user's
        pass
    try:
        after_name = Path(f"/proc/{process}/stat").read_text(encoding="utf-8").rpartition(")")[2]
        started = after_name.split()[19]  # field 22, in ticks since the system started
    except OSError:  # a system without /proc
        started = "0"
    return f"{process}-{started}"


def is_checkpoint(path: Path) -> bool:
    """Return whether `path` is the folder of a training checkpoint, whole or damaged, rather than of weights alone."""
    return (Path(path) / MANIFEST).is_file() or (Path(path) / STATE).is_file()


def verify(path: Path) -> List[str]:
    """Return everything that is wrong with the checkpoint folder `path`; an empty list says it is whole."""
    path = Path(path)
    if not path.is_dir():
        return ["not a folder" if path.exists() else "does not exist"]
    try:
        manifest = json.loads((path / MANIFEST).read_text(encoding="utf-8"))
        version, files = manifest["format_version"], dict(manifest["files"])
        recorded = {name: (int(entry["bytes"]), str(entry["sha256"])) for name, entry in files.items()}
    except FileNotFoundError:
        return [f"{MANIFEST}: missing; the folder is no checkpoint, or was not completed"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        return [f"{MANIFEST}: unreadable: {error}"]
    if version != FORMAT_VERSION:
        return [f"{MANIFEST}: format version {version}; this version of mindformers reads {FORMAT_VERSION}"]
    problems = [f"{STATE}: not in the manifest"] if STATE not in recorded else []
    for name, (size, digest) in sorted(recorded.items()):
        problems.extend(_compare(path / name, name, size, digest))
    return problems


def list_checkpoints(folder: Path, rank: Optional[int] = None) -> List[CheckpointEntry]:
    """Return the checkpoints directly in `folder`, of `rank` or of all; the last written one last.

    Time decides before the global step: a new run in the folder of a longer one, or one resumed from an earlier
    checkpoint than the last, is what the user works on.
    """
    entries = []
    for path in sorted(Path(folder).iterdir()) if Path(folder).is_dir() else []:
        match = NAME.fullmatch(path.name)
        if match and path.is_dir() and not path.name.startswith(TEMPORARY):
            entry = _entry(path, match)
            if rank is None or entry.rank == rank:
                entries.append(entry)
    return sorted(entries, key=lambda entry: (entry.saved_at, entry.global_step))


def newest_valid(
    folder_of: Callable[[int], Path], run_id: Optional[str] = None
) -> Tuple[Optional[CheckpointEntry], List[str]]:
    """Return rank 0's newest checkpoint that is whole on every rank that saved it, and what is wrong with newer ones.

    `folder_of` tells where the checkpoints of a rank are; `run_id` leaves out those of other runs.
    """
    skipped: List[str] = []
    for entry in reversed(list_checkpoints(folder_of(0), 0)):
        if run_id is not None and entry.run_id != run_id:
            continue
        paths = [path_for(entry, folder_of, rank) for rank in range(entry.ranks)]
        problems = [f"{path}: {'; '.join(found)}" for path in paths if (found := verify(path))]
        if not problems:
            return entry, skipped
        skipped += problems
    return None, skipped


def path_for(entry: CheckpointEntry, folder_of: Callable[[int], Path], rank: int) -> Path:
    """Return what `rank` has of rank 0's checkpoint `entry`; a rank that did not save it takes rank 0's."""
    saved_by = rank if rank < entry.ranks else 0
    return folder_of(saved_by) / checkpoint_name(entry.prefix, saved_by, entry.epoch, entry.step)


def require_valid(path: Path) -> None:
    """Raise CheckpointError with every problem of the checkpoint folder `path`."""
    problems = verify(path)
    if problems:
        raise CheckpointError(str(path), problems, "Use an earlier checkpoint, or start the run anew.")


def _entry(path: Path, match: re.Match) -> CheckpointEntry:
    known = CheckpointEntry(
        path, match.group("prefix"), int(match.group("rank")), int(match.group("epoch")), int(match.group("step"))
    )
    try:
        state = json.loads((path / STATE).read_text(encoding="utf-8"))
        return CheckpointEntry(
            known.path,
            known.prefix,
            known.rank,
            known.epoch,
            known.step,
            int(state["global_step"]),
            float(state["saved_at"]),
            str(state["run_id"]),
            state.get("metric"),
            int(state.get("ranks", 1)),
        )
    except (OSError, ValueError, KeyError, TypeError):
        # Listed all the same: `verify` says what is wrong with it.
        return known


def _compare(path: Path, name: str, size: int, digest: str) -> List[str]:
    try:
        found = path.stat().st_size
        if found != size:
            return [f"{name}: {found} bytes; the manifest says {size}"]
        return [] if _sha256(path) == digest else [f"{name}: its content changed (sha256 differs from the manifest)"]
    except FileNotFoundError:
        return [f"{name}: missing"]
    except OSError as error:
        return [f"{name}: unreadable: {error.strerror or error}"]


def _write_manifest(folder: Path) -> None:
    files = {
        path.relative_to(folder).as_posix(): {"bytes": path.stat().st_size, "sha256": _sha256(path)}
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
    text = json.dumps({"format_version": FORMAT_VERSION, "files": files}, indent=2)
    (folder / MANIFEST).write_text(text + "\n", encoding="utf-8")


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        for block in iter(lambda: file.read(BLOCK), b""):
            digest.update(block)
    return digest.hexdigest()


def _flush_tree(folder: Path) -> None:
    for path in folder.rglob("*"):
        _flush(path)
    _flush(folder)


def _flush(path: Path) -> None:
    """Wait until the file, or the names in the folder, are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def reason(error: BaseException) -> str:
    """Return what the system says of a failed write, e.g. that no space is left."""
    return getattr(error, "strerror", None) or (reason(error.__cause__) if error.__cause__ else str(error))
