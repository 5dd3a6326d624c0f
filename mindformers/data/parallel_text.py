"""Texts in two languages, sentence by sentence: pairs of files, tables, and what Hugging Face's WMT sets hold."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import zip_longest
from pathlib import Path
from typing import Any, Iterable, Iterator, List, Optional, Tuple, Union

from mindformers.data.cache import file_digest
from mindformers.data.rows import SPLIT_NAMES, Rejections, Row, read_lines, read_rows, split_path, unreadable
from mindformers.errors import DataError, UsageError

SOURCE, TARGET = "source", "target"
NESTED = "translation"
"""Column of Hugging Face's WMT sets: an object with a text for each language."""
ZIPPED = ("", ".gz")


@dataclass
class ParallelTexts:
    """What a source gave: texts of equal number."""

    sources: List[str] = field(default_factory=list)
    targets: List[str] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.sources)

    def first(self, count: Optional[int]) -> ParallelTexts:
        """Return the first pairs, or all."""
        return ParallelTexts(self.sources[:count], self.targets[:count])


@dataclass(frozen=True)
class TranslationDataLoader:
    """Pairs of one split, as a dataset section names them; the first `num_samples` of them, or all.

    Two files of lines, `train.en` and `train.de` (also `.gz`; the endings are the languages), or one table or JSON file
    with a column for each language, or with objects {"en": ..., "de": ...} under "translation".
    """

    dataset_dir: Union[str, Path]
    """Folder of splits, a file, or the common beginning of two files (`folder/test_2016` of `test_2016.en`)."""
    stage: str = "train"
    num_samples: Optional[int] = None
    source_lang: str = SOURCE
    target_lang: str = TARGET

    def __post_init__(self):
        if self.num_samples is not None and self.num_samples < 1:
            raise UsageError(f"num_samples={self.num_samples}: it must be at least 1, or absent for all")
        if self.source_lang == self.target_lang:
            raise UsageError(f"source_lang and target_lang are both '{self.source_lang}'; name two languages")

    def files(self) -> Tuple[Path, ...]:
        """Return the two files of lines, or the one file of rows. Raises DataError when there is neither."""
        place = Path(self.dataset_dir)
        stems = [place] if not place.exists() else []
        if place.is_dir():
            stems = [place / name for name in SPLIT_NAMES.get(self.stage, (self.stage,))]
        for stem in stems:
            pair = [_present(stem, language) for language in (self.source_lang, self.target_lang)]
            if all(pair):
                return tuple(file for file in pair if file is not None)
            if any(pair):
                missing = self.target_lang if pair[0] else self.source_lang
                raise DataError(f"{stem}.{missing}: no such file beside {pair[0] or pair[1]}; the two go line by line")
        try:
            return (split_path(place, self.stage),)
        except DataError as error:
            languages = f"{self.source_lang}, {self.target_lang}"
            raise DataError(
                f"{error}; or two files of lines with the endings .{self.source_lang} and .{self.target_lang} "
                f"(source_lang, target_lang are {languages})"
            ) from None

    def read(self) -> ParallelTexts:
        """Return the usable pairs. Raises DataError."""
        files = self.files()
        rejections = Rejections(str(self.dataset_dir), "pair")
        names = (self.source_lang, self.target_lang)
        rows = _of_lines(*files, names) if len(files) == 2 else read_rows(files[0], rejections=rejections)
        return collect(rows, *names, rejections).first(self.num_samples)

    def identity(self) -> dict:
        """Return what decides the content, for the key of a cache."""
        return {"files": [file_digest(file) for file in self.files()], "num_samples": self.num_samples}


def examples_from(items: Iterable[object], source: str = SOURCE, target: str = TARGET) -> ParallelTexts:
    """Return a user's own pairs: (source, target), or mappings with the two languages. Raises DataError."""
    rejections = Rejections("the dataset", "pair")
    rows = []
    for index, item in enumerate(items):
        values = dict(zip((source, target), item)) if isinstance(item, (tuple, list)) and len(item) == 2 else item
        if not isinstance(values, dict):
            raise DataError(
                f"row {index} of the dataset is no pair: {item!r}; give (source, target), or mappings with "
                f"'{source}' and '{target}'"
            )
        rows.append(Row(f"row {index}", values))
    return collect(rows, source, target, rejections)


def collect(rows: Iterable[Row], source: str, target: str, rejections: Rejections) -> ParallelTexts:
    """Check pairs and put the usable ones together; closes `rejections`, which raises DataError for too many."""
    found = ParallelTexts()
    for row in rows:
        nested = row.values.get(NESTED)
        values = nested if isinstance(nested, dict) else row.values
        problems = (unreadable(row), *(_problem(values, name) for name in (source, target)))
        reason = next(filter(None, problems), "")
        if reason:
            rejections.add(row.place, reason)
        else:
            found.sources.append(values[source])
            found.targets.append(values[target])
    rejections.close(len(rejections) + len(found), accepted="Name the columns with source_lang and target_lang.")
    return found


def _problem(values: Any, name: str) -> str:
    text = values.get(name)
    if text is None:
        return f"'{name}' is missing; the row has {', '.join(map(repr, values)) or 'nothing'}"
    if not isinstance(text, str):
        return f"'{name}' is {text!r}, it must be text"
    return "" if text.strip() else f"'{name}' is empty"


def _present(stem: Path, language: str) -> Optional[Path]:
    places = (stem.parent / f"{stem.name}.{language}{packed}" for packed in ZIPPED)
    return next((place for place in places if place.is_file()), None)


def _of_lines(source: Path, target: Path, names: Tuple[str, str]) -> Iterator[Row]:
    """Yield the lines of two files side by side. Raises DataError when one has more lines."""
    for first, second in zip_longest(read_lines(source), read_lines(target)):
        if first is None or second is None:
            shorter, place = (source, second.place) if first is None else (target, first.place)
            raise DataError(f"{shorter}: ends before {place}; the two files must have equally many lines")
        yield Row(first.place, dict(zip(names, (first.values["text"], second.values["text"]))))
