"""MindRecord files: rows of integers under column names, as MindSpore's own tools write them.

GPT-2 of MindFormers r0.3 reads `input_ids` of seq_length + 1 tokens a row; other tools also write `attention_mask` and
`labels`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Dict, Iterator, List, Mapping, Optional, Sequence, Union

import numpy as np

from mindformers.data.loader import FeatureSet
from mindformers.data.pack import IGNORED
from mindformers.data.splits import split_of
from mindformers.errors import DataError, OutputError, UsageError

ENDING = ".mindrecord"
"""Usual ending of a file; any other does."""
OTHERS = "Text is read by the loader TextDataLoader, Megatron's .bin and .idx by IndexedDataLoader"
INDEX = ".db"
"""Ending of the index that lies beside each file."""
ROWS_AT_ONCE = 1024
MARK = "[ERROR]"
"""Stands before what is wrong in the messages of MindSpore 2.10."""


def write_records(
    file: Union[str, Path], columns: Mapping[str, np.ndarray], about: str = "tokens", overwrite: bool = False
) -> Path:
    """Write columns of numbers [n, ...], int32 or float32, as one MindRecord file and its index; returns the file.

    Raises OutputError when the file exists already and `overwrite` is false, or cannot be written, DataError for
    columns of unequal lengths or without rows.
    """
    place = Path(file)
    lengths = {name: len(array) for name, array in columns.items()}
    if not lengths or len(set(lengths.values())) != 1 or not all(lengths.values()):
        raise DataError(f"{place}: columns of a MindRecord file must have rows, and equally many; these have {lengths}")
    if place.exists() and not overwrite:
        raise OutputError(f"{place} exists already; choose another name, or ask for overwriting")
    from mindspore.mindrecord import FileWriter

    arrays = {
        name: np.asarray(array, np.float32 if array.dtype.kind == "f" else np.int32) for name, array in columns.items()
    }
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        writer = FileWriter(str(place), shard_num=1, overwrite=True)
        writer.add_schema({name: {"type": array.dtype.name, "shape": [-1]} for name, array in arrays.items()}, about)
        for start in range(0, next(iter(lengths.values())), ROWS_AT_ONCE):
            rows = range(start, min(start + ROWS_AT_ONCE, next(iter(lengths.values()))))
            writer.write_raw_data([{name: array[row].ravel() for name, array in arrays.items()} for row in rows])
        writer.commit()
    except (OSError, RuntimeError) as error:
        raise OutputError(f"{place}: cannot be written ({_brief(error)}); choose another place") from error
    return place


def read_records(files: Sequence[Union[str, Path]], columns: Optional[Sequence[str]] = None) -> Dict[str, np.ndarray]:
    """Return the columns of MindRecord files, one after the other, [n, width], in memory.

    `columns` must be there; all are read when it is absent. Raises DataError for a file that cannot be read, lacks a
    column, or has rows of unequal length.
    """
    found: Dict[str, List[np.ndarray]] = {}
    for file in map(Path, files):
        for row in _rows(file, columns):
            for name, value in row.items():
                found.setdefault(name, []).append(np.atleast_1d(value))
    named = ", ".join(map(str, files))
    widths = {name: {len(value) for value in values} for name, values in found.items()}
    for name, seen in widths.items():
        if len(seen) > 1:
            raise DataError(
                f"{named}: rows of '{name}' have {min(seen)} to {max(seen)} numbers; every row must have equally many"
            )
    if not found:
        raise DataError(f"{named}: no row")
    return {name: np.stack(values) for name, values in found.items()}


def _rows(file: Path, columns: Optional[Sequence[str]]) -> Iterator[Dict[str, np.ndarray]]:
    """Yield the rows of a file. Raises DataError."""
    from mindspore.mindrecord import FileReader

    if not file.is_file():
        raise DataError(f"{file}: no such file; a MindRecord file is needed, with its index {file.name}{INDEX}")
    if not Path(f"{file}{INDEX}").is_file():
        raise DataError(f"{file}: its index {file.name}{INDEX} is missing; keep the two files together. {OTHERS}")
    try:
        reader = FileReader(str(file))
        try:
            known = sorted(reader.schema())
            missing = [name for name in columns or () if name not in known]
            if missing:
                raise DataError(f"{file}: has no column {', '.join(missing)}; its columns are {', '.join(known)}")
            for row in reader.get_next():
                yield {name: row[name] for name in columns or known}
        finally:
            reader.close()
    except RuntimeError as error:
        raise DataError(f"{file}: not readable as MindRecord ({_brief(error)}); it may be damaged") from error


def _brief(error: Exception) -> str:
    """Return the line that says something of MindSpore's message."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    marked = [line[len(MARK) :].strip() for line in lines if line.startswith(MARK)]
    return (marked or lines or [type(error).__name__])[0].rstrip(".")


@dataclass(frozen=True)
class RecordFiles:
    """Files whose rows are columns of numbers: one, a list, or all of a folder; the first `num_samples` rows.

    Of a folder with splits (train.mindrecord, or a folder valid ...) `stage` chooses one.
    """

    dataset_dir: Union[str, Path] = ""
    dataset_files: Optional[List[str]] = None
    columns_list: Optional[List[str]] = None
    """Columns that are read; all when absent."""
    stage: str = "train"
    num_samples: Optional[int] = None

    ending: ClassVar[str]
    """Usual ending of a file."""

    def __post_init__(self):
        if self.num_samples is not None and self.num_samples < 1:
            raise UsageError(f"num_samples={self.num_samples}: it must be at least 1, or absent for all")

    def files(self) -> List[Path]:
        """Return the files, those of a folder in the order of their names. Raises DataError when there is none."""
        if self.dataset_files:
            return [Path(self.dataset_dir) / file for file in self.dataset_files]
        place = Path(self.dataset_dir)
        if place.is_dir() and str(self.dataset_dir):
            place = split_of(place, self.stage, (self.ending,))
        if place.is_file():
            return [place]
        found = self.files_of(place) if self.dataset_dir else []
        if not found:
            raise DataError(f"dataset_dir: {self.missing()}, or name them in dataset_files. {OTHERS}")
        return found

    def columns(self) -> Dict[str, np.ndarray]:
        """Return the columns, name to array [n, width]. Raises DataError."""
        return {name: array[: self.num_samples] for name, array in self.read(self.files()).items()}

    def files_of(self, folder: Path) -> List[Path]:
        """Return the files of a folder."""
        raise NotImplementedError

    def missing(self) -> str:
        """Return the message for a folder without such files."""
        raise NotImplementedError

    def read(self, files: Sequence[Path]) -> Dict[str, np.ndarray]:
        """Return the columns of files. Raises DataError."""
        raise NotImplementedError


class MindDataset(RecordFiles):
    """MindRecord files with their indices."""

    ending = ENDING

    def files_of(self, folder: Path) -> List[Path]:
        """Return the files that have an index."""
        return sorted(Path(str(file)[: -len(INDEX)]) for file in folder.glob(f"*{INDEX}"))

    def missing(self) -> str:
        """Return the message for a folder without such files."""
        return (
            f"no MindRecord files at '{self.dataset_dir}'; give a file or a folder that holds files with their indices "
            f"(*{INDEX})"
        )

    def read(self, files: Sequence[Path]) -> Dict[str, np.ndarray]:
        """Return the columns of files. Raises DataError."""
        return read_records(files, self.columns_list)


def causal_rows(columns: Mapping[str, np.ndarray], length: int, name: str) -> FeatureSet:
    """Return rows of tokens as a causal model trains on them: `length` predictions of `length` + 1 tokens.

    Shorter rows have one prediction less than tokens. Columns are `input_ids` and, where they are, `labels` of the same
    width (-100 is ignored) and `attention_mask` (without labels, nothing is learned where it is 0). Raises DataError
    for other columns and longer rows.
    """
    unknown = sorted(set(columns) - {"input_ids", "attention_mask", "labels"})
    if "input_ids" not in columns or unknown:
        raise DataError(
            f"{name}: the columns are {', '.join(columns)}; causal language modelling takes input_ids and, if there, "
            "attention_mask and labels; choose them with data_loader.columns_list"
        )
    rows = {key: np.asarray(array, np.int32) for key, array in columns.items()}
    shapes = {key: array.shape for key, array in rows.items()}
    if len(set(shapes.values())) != 1 or rows["input_ids"].ndim != 2:
        raise DataError(f"{name}: columns must have the same shape [rows, tokens]; these have {shapes}")
    width = rows["input_ids"].shape[1]
    if not 2 <= width <= length + 1:
        raise DataError(
            f"{name}: rows have {width} tokens, but the model takes 2 to {length + 1} (seq_length {length}, and the "
            "token that follows); set model_config.seq_length to that of the rows, or cut them anew"
        )
    labels = rows.get("labels", rows["input_ids"])
    if "attention_mask" in rows and "labels" not in rows:
        labels = np.where(rows["attention_mask"] > 0, labels, IGNORED).astype(np.int32)
    seen = width - 1 if width == length + 1 else width
    inputs = {key: rows[key][:, :seen] for key in ("input_ids", "attention_mask") if key in rows}
    return FeatureSet({**inputs, "labels": labels}, fillers={"labels": IGNORED})
