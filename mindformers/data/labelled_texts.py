"""Texts, or pairs of texts, with a label each: GLUE's files, and any table with a text and a label column."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any, Iterable, Iterator, List, Optional, Sequence, Tuple, Union

import numpy as np

from mindformers.data.arrow_rows import class_names
from mindformers.data.glue import GlueTask, glue_task
from mindformers.data.rows import ARROW_SUFFIXES, Rejections, Row, read_rows, split_path, unreadable
from mindformers.errors import DataError, UsageError, counted
from mindformers.log import logger

LABEL_COLUMN = "label"
SHOWN_LABELS = 20
UNLABELLED = -1
"""What the hub's copies hold in place of a label that is kept secret."""


@dataclass(frozen=True)
class Columns:
    """Which columns of a table are used."""

    texts: Tuple[str, ...]
    """One, or two for pairs."""
    label: str


@dataclass(frozen=True)
class LabelledTexts:
    """What a source gave; all parts are of equal length."""

    texts: List[str]
    pairs: Optional[List[str]]
    """The second texts; None where there is one text a row."""
    labels: np.ndarray
    """int32 [n]: indices into `names`; float32 [n] where labels are numbers."""
    names: Tuple[str, ...]
    """Classes in order; none where labels are numbers."""
    columns: Columns

    def __len__(self) -> int:
        return len(self.texts)

    def first(self, count: Optional[int]) -> LabelledTexts:
        """Return the first rows, or all."""
        pairs = None if self.pairs is None else self.pairs[:count]
        return LabelledTexts(self.texts[:count], pairs, self.labels[:count], self.names, self.columns)

    def renumbered(self, names: Sequence[str]) -> LabelledTexts:
        """Return the same rows with the same names in another order."""
        places = np.array([names.index(name) for name in self.names], np.int32)
        return LabelledTexts(self.texts, self.pairs, places[self.labels], tuple(names), self.columns)


@dataclass(frozen=True)
class LabelRule:
    """What a label may be."""

    names: Optional[Tuple[str, ...]] = None
    """Classes in order; None: all labels that occur, sorted."""
    is_number: bool = False
    span: Optional[Tuple[float, float]] = None
    """Smallest and largest number."""
    numbered: Optional[Tuple[str, ...]] = None
    """Classes in the order in which the data numbers them; None: that of `names`."""

    def problem(self, value: object) -> str:
        """Return why a value is no label, or ""."""
        if value is None or value != value or isinstance(value, str) and not value.strip():
            return "it has no label"
        if isinstance(value, (list, dict)):
            return f"the label {value!r} is neither text nor a number"
        if self.is_number:
            number = as_number(value)
            if number is None:
                return f"the label {value!r} is no number"
            if self.span is not None and not self.span[0] <= number <= self.span[1]:
                return f"the label {value!r} is not between {self.span[0]:g} and {self.span[1]:g}"
            return ""
        if value == UNLABELLED:
            return f"it has no label ({UNLABELLED} stands for one that is kept secret)"
        if self.names is not None and self.index(label_text(value)) is None:
            return f"the label {label_text(value)!r} is not one of {', '.join(self.names)}"
        return ""

    def index(self, label: str) -> Optional[int]:
        """Return the class that a label names; digits number the classes, unless these are digits themselves."""
        names = self.names or ()
        if label in names:
            return names.index(label)
        numbered = self.numbered if self.numbered is not None and set(self.numbered) == set(names) else names
        if label.isdigit() and int(label) < len(names) and not any(name.isdigit() for name in names):
            return names.index(numbered[int(label)])
        return None


@dataclass(frozen=True)
class TextClassificationDataLoader:
    """Labelled texts of one split, as a dataset section names them; the first `num_samples` of them, or all."""

    dataset_dir: Union[str, Path]
    """A file that `rows.read_rows` takes, or a folder with one file or saved dataset a split."""
    stage: str = "train"
    num_samples: Optional[int] = None
    task_name: Optional[str] = None
    """Name in `glue.GLUE`: columns and labels are the task's."""
    text_column: Optional[str] = None
    text_pair_column: Optional[str] = None
    label_column: Optional[str] = None

    def __post_init__(self):
        if self.num_samples is not None and self.num_samples < 1:
            raise UsageError(f"num_samples={self.num_samples}: it must be at least 1, or absent for all")
        if self.text_pair_column and not self.text_column:
            raise UsageError("text_pair_column is given without text_column; name both columns of a pair")
        named = [name for name in ("text_column", "text_pair_column", "label_column") if getattr(self, name)]
        if self.task_name and named:
            raise UsageError(f"task_name: {self.task_name} says which columns are used; leave out {', '.join(named)}")

    @property
    def glue(self) -> Optional[GlueTask]:
        """The GLUE task, None for a table of one's own. Raises UnknownNameError."""
        return glue_task(self.task_name) if self.task_name else None

    @property
    def file(self) -> Path:
        """The file or saved folder of the split. Raises DataError when there is none."""
        stage = self.glue.dev_stage if self.glue is not None and self.stage == "dev" else self.stage
        return split_path(self.dataset_dir, stage)

    def read(self, rule: LabelRule, columns: Optional[Columns] = None) -> LabelledTexts:
        """Return the usable rows; `columns` are those of an earlier split. Raises DataError."""
        file = self.file
        rejections = Rejections(str(file))
        header = self.glue.header if self.glue is not None and not _has_header(file) else None
        rows = read_rows(file, rejections=rejections, header=header)
        rows, first = _peek(rows)
        if first is None:
            rejections.close(len(rejections))
        chosen = self._columns(str(file), first, columns)
        classes = class_names(file, chosen.label) if _is_arrow(file) and not rule.is_number else None
        if classes:
            rule = replace(rule, names=rule.names or tuple(classes), numbered=tuple(classes))
        return collect(rows, chosen, rule, rejections).first(self.num_samples)

    def _columns(self, file: str, row: Row, earlier: Optional[Columns]) -> Columns:
        """Return the columns that are used, by what the first row has."""
        if self.glue is not None:
            hub = Columns(self.glue.hub_texts or self.glue.texts, LABEL_COLUMN)
            own = Columns(self.glue.texts, self.glue.label)
            found = next((item for item in (own, hub) if not _missing(item, row)), None)
            return found or _checked(
                own, file, row, f"; for another table set data_loader.task_name, now {self.task_name}"
            )
        if self.text_column:
            texts = tuple(name for name in (self.text_column, self.text_pair_column) if name)
            return _checked(Columns(texts, self.label_column or LABEL_COLUMN), file, row)
        if earlier is not None and not _missing(earlier, row):
            return earlier
        return columns_of(file, row, self.label_column or LABEL_COLUMN)


def columns_of(source: str, row: Row, label: str = LABEL_COLUMN) -> Columns:
    """Return the columns of a table by its first row: the label's, and the first one or two others that hold text.

    Of two columns, the other one holds text whatever stands in the first row.
    Raises DataError when there is no such column.
    """
    texts = [name for name, value in row.values.items() if isinstance(value, str) and as_number(value) is None]
    others = [name for name in row.values if name != label]
    texts = [name for name in texts if name != label][:2] or (others if len(others) == 1 else [])
    if label not in row.values or not texts:
        raise DataError(
            f"{source}: the columns are {', '.join(map(repr, row.values))}; needed are that of "
            f"the label ('{label}') and one or two of text; name them with data_loader.text_column, text_pair_column, "
            "label_column"
        )
    logger.info("%s: texts from %s, labels from %r", source, " and ".join(map(repr, texts)), label)
    return Columns(tuple(texts), label)


def examples_from(items: Iterable[object], rule: LabelRule, columns: Optional[Columns] = None) -> LabelledTexts:
    """Return rows of a user's own dataset, which are mappings with texts and a label. Raises DataError."""
    rejections = Rejections("the dataset")
    rows, first = _peek(_rows_of(items))
    if first is None:
        rejections.close(0)
    if columns is None or _missing(columns, first):
        columns = columns_of("the dataset", first)
    return collect(rows, columns, rule, rejections)


def _rows_of(items: Iterable[object]) -> Iterator[Row]:
    try:
        for index, item in enumerate(items):
            yield Row(f"row {index}", dict(item))  # type: ignore[call-overload]
    except (TypeError, ValueError) as error:
        raise DataError(
            f"the dataset cannot be read ({error}); it must give mappings such as "
            '{"text": ..., "text_pair": ..., "label": ...}'
        ) from error


def collect(rows: Iterable[Row], columns: Columns, rule: LabelRule, rejections: Rejections) -> LabelledTexts:
    """Check rows and put the usable ones together; closes `rejections`, which raises DataError for too many."""
    texts: List[Tuple[str, ...]] = []
    values: List[Any] = []
    for row in rows:
        reason = unreadable(row) or _text_problem(row, columns) or rule.problem(row.values.get(columns.label))
        if reason:
            rejections.add(row.place, reason)
        else:
            texts.append(tuple(row.values[name] for name in columns.texts))
            values.append(row.values[columns.label])
    accepted = f"Labels here are {', '.join(rule.names)}." if rule.names else ""
    rejections.close(len(rejections) + len(texts), accepted=accepted)
    if rule.is_number:
        names: Tuple[str, ...] = ()
        labels = np.array([as_number(value) for value in values], np.float32)
    else:
        words = [label_text(value) for value in values]
        names = rule.names if rule.names is not None else found_names(words)
        final = replace(rule, names=names)
        index = {word: final.index(word) for word in set(words)}
        labels = np.array([index[word] for word in words], np.int32)
    pairs = [item[1] for item in texts] if len(columns.texts) > 1 else None
    return LabelledTexts([item[0] for item in texts], pairs, labels, names, columns)


def found_names(labels: Sequence[str]) -> Tuple[str, ...]:
    """Return the different labels in order: numbers by size, words by letters."""
    names = set(labels)
    if all(as_number(name) is not None for name in names):
        return tuple(sorted(names, key=lambda name: (as_number(name), name)))
    return tuple(sorted(names))


def named(labels: Sequence[str]) -> str:
    """Return labels as a message lists them."""
    rest = len(labels) - SHOWN_LABELS
    return ", ".join(labels[:SHOWN_LABELS]) + (f" and {counted(rest, 'more label')}" if rest > 0 else "")


def label_text(value: object) -> str:
    """Return a label as text: 1.0 is "1", true is "true"."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value).strip()


def as_number(value: object) -> Optional[float]:
    """Return the finite number that a value is or spells, else None."""
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def _text_problem(row: Row, columns: Columns) -> str:
    for name in columns.texts:
        value = row.values.get(name)
        if value is None:
            return f"'{name}' is missing"
        if not isinstance(value, str):
            return f"'{name}' is {value!r}, it must be text"
        if not value.strip():
            return f"'{name}' is empty"
    return ""


def _peek(rows: Iterator[Row]) -> Tuple[Iterator[Row], Optional[Row]]:
    """Return the rows and the first of them, None when there is none."""
    first = next(rows, None)
    return (rows if first is None else chain([first], rows)), first


def _missing(columns: Columns, row: Row) -> List[str]:
    return [name for name in (*columns.texts, columns.label) if name not in row.values]


def _checked(columns: Columns, file: str, row: Row, advice: str = "") -> Columns:
    missing = _missing(columns, row)
    if missing:
        raise DataError(
            f"{file}: column {' and '.join(map(repr, missing))} is missing; the file has "
            f"{', '.join(map(repr, row.values))}{advice}"
        )
    return columns


def _is_arrow(file: Path) -> bool:
    return file.is_dir() or file.suffix in ARROW_SUFFIXES


def _has_header(file: Path) -> bool:
    """Return whether a file names its columns: of GLUE's, only the .tsv of CoLA do not."""
    return ".tsv" not in file.suffixes
