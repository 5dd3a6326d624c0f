"""Scalars of a run, by step: JSON lines always, TensorBoard events on request."""

from __future__ import annotations

import json
import math
import os
import time
from pathlib import Path
from typing import Any, Callable, List, Mapping, Optional, TextIO

from mindformers.errors import MissingExtraError, OutputError, counted
from mindformers.log import logger

FILE_NAME = "metrics.jsonl"


class ScalarWriter:
    """Appends one JSON object a call to `folder`/metrics.jsonl: step, epoch, time (seconds since 1970) and the values.

    A value that is not finite is written as null, since JSON knows no NaN. A new run moves an earlier run's file aside
    (metrics-1.jsonl, ...); a run resumed after `first_step` batches keeps its lines up to there and drops later ones,
    which it is about to write again.

    Raises:
        OutputError: when the file cannot be written.
        MissingExtraError: when `tensorboard` is asked for and tensorboardX is not installed.
    """

    def __init__(self, folder: Path, first_step: int = 0, tensorboard: bool = False):
        self.path = Path(folder) / FILE_NAME
        self._events: Optional[Any] = _event_writer(Path(folder), first_step) if tensorboard else None
        self._file: Optional[TextIO] = open_records(self.path, first_step)

    def write(self, step: int, epoch: int, values: Mapping[str, float]) -> None:
        """Record `values` of the batch number `step`."""
        now = time.time()
        record = {"step": step, "epoch": epoch, "time": round(now, 3)}
        for name, value in values.items():
            record[name] = float(value) if math.isfinite(value) else None
        try:
            self._file.write(json.dumps(record) + "\n")
        except OSError as error:
            raise OutputError(f"{self.path}: cannot be written: {error.strerror or error}") from error
        if self._events is not None:
            for name, value in values.items():
                self._events.add_scalar(name, float(value), step, now)

    def close(self) -> None:
        """Flush and close; may be called again."""
        if self._file is not None:
            self._file.close()
            self._file = None
        if self._events is not None:
            self._events.close()
            self._events = None


def open_records(path: Path, first_step: int) -> TextIO:
    """Return the file of JSON lines `path`, open at its end, whose lines are those up to `first_step`.

    A new run moves an earlier run's file aside. Raises OutputError when it cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if first_step:
            _keep_until(path, first_step)
        else:
            _move_aside(path)
        return open(path, "a", encoding="utf-8", buffering=1)
    except OSError as error:
        raise OutputError(f"{path}: cannot be written: {error.strerror or error}") from error


def read_scalars(path: Path) -> List[Mapping[str, Optional[float]]]:
    """Return the records of a metrics.jsonl. Lines that a crash cut off or broke are left out, with a warning."""
    records, broken = [], 0
    for line in Path(path).read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            record = json.loads(line)
            records.append({**record, "step": int(record["step"])})
        except (ValueError, TypeError, KeyError):
            broken += 1
    if broken:
        logger.warning("%s: %s cannot be read and left out", path, counted(broken, "line"))
    return records


def _keep_until(path: Path, step: int) -> None:
    """Rewrite `path` with the records up to `step` only; one replacement, so that a crash leaves either file whole."""
    if not path.exists():
        return
    shorter = path.with_suffix(".tmp")
    with open(shorter, "w", encoding="utf-8") as file:
        for record in read_scalars(path):
            if record["step"] <= step:
                file.write(json.dumps(record) + "\n")
    os.replace(shorter, path)


def _move_aside(path: Path) -> None:
    if not path.exists():
        return
    number = 1
    while path.with_name(f"{path.stem}-{number}{path.suffix}").exists():
        number += 1
    path.rename(path.with_name(f"{path.stem}-{number}{path.suffix}"))


def _event_writer(folder: Path, first_step: int) -> Any:
    """Return a TensorBoard writer; on resumption it tells the viewer to forget events after `first_step`."""
    writer_class = _import_writer()
    return writer_class(str(folder), purge_step=first_step + 1 if first_step else None)


def _import_writer() -> Callable[..., Any]:
    try:
        from tensorboardX import SummaryWriter
    except ImportError as error:
        raise MissingExtraError("tensorboardX", "tensorboard", "writing TensorBoard events") from error
    return SummaryWriter
