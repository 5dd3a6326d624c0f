"""Readers of texts with named entities: CLUENER2020 (Xu et al. 2020, arXiv:2001.04351) and columns as in CoNLL-2003."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import (
    Any,
    Collection,
    Dict,
    Iterable,
    Iterator,
    List,
    Mapping,
    NamedTuple,
    Optional,
    Sequence,
    Tuple,
    Union,
)

from mindformers.data.rows import NO_UTF8, READERS, Rejections, Row, read_rows, split_path
from mindformers.data.squad import file_digest
from mindformers.data.tags import SCHEMES, LabelSet, Span, find_scheme, read_tags
from mindformers.errors import DataError, UsageError, counted
from mindformers.log import logger

CLUENER_TYPES = (
    "address",
    "book",
    "company",
    "game",
    "government",
    "movie",
    "name",
    "organization",
    "position",
    "scene",
)
CLUENER_FORMAT = (
    'accepted is one object a line: {"text": "...", "label": {type: {mention: [[first, last character], ...]}}}'
)
COLUMN_FORMAT = "accepted is one token a line with its tag in another column, and a blank line between sentences"
OWN_FORMATS = (
    'a row is {"text", "label"} as in CLUENER, {"text", "entities": [{"type", "start", "end"}, ...]} with the end '
    'exclusive, or {"tokens": [...], "tags": [...]}'
)
OFFICIAL_COLUMNS = {"train": "eng.train", "dev": "eng.testa", "test": "eng.testb"}
"""File names of CoNLL-2003."""
COLUMN_ENDINGS = (".conll", ".bio", ".iob", ".txt")
DOCUMENT_START = "-DOCSTART-"


@dataclass(frozen=True)
class Record:
    """One text and the entities in it."""

    text: str
    entities: Tuple[Span, ...]
    """In characters of the text, in order, an outer one before those within it."""
    place: str
    words: Optional[Tuple[Tuple[int, int], ...]] = None
    """First character and the one past the last of every word, where the data is cut into words."""


class EntityRows(NamedTuple):
    """What a source gave."""

    records: List[Record]
    scheme: str
    """How its tags are written; IOB2 where it has spans instead of tags."""

    def found_labels(self) -> LabelSet:
        """Return the tags of all types in the rows, types in alphabetical order; IOB1 is trained as IOB2.

        Raises DataError when no row has an entity.
        """
        types = sorted({span.type for record in self.records for span in record.entities})
        if not types:
            raise DataError(
                "no row has an entity, so there is nothing to learn; set data_loader.labels if that is meant"
            )
        return LabelSet.of_types(types, "IOB2" if self.scheme == "IOB1" else self.scheme)


def checked_record(
    text: str,
    entities: Iterable[Span],
    place: str,
    types: Optional[Collection[str]],
    words: Optional[Sequence[Tuple[int, int]]] = None,
) -> Record:
    """Return a record. Raises ValueError with the reason when it cannot be used; `types` None takes any type."""
    if not text.strip():
        raise ValueError("the text is empty")
    spans = sorted(dict.fromkeys(entities), key=lambda item: (item.start, -item.end))
    for span in spans:
        if types is not None and span.type not in types:
            raise ValueError(
                f"the type {span.type!r} is none of {', '.join(types)}; data_loader.labels says which there are"
            )
        if not 0 <= span.start < span.end <= len(text):
            raise ValueError(
                f"the {span.type} from character {span.start} to {span.end - 1} is not inside the text, which has "
                f"{counted(len(text), 'character')}"
            )
    return Record(text, tuple(spans), place, None if words is None else tuple(words))


@dataclass(frozen=True)
class CLUENERDataLoader:
    """Rows of one split of CLUENER2020, as a dataset section names them; the first `num_samples`, or all."""

    dataset_dir: Union[str, Path]
    """Folder with train.json, dev.json and test.json, or one file."""
    stage: str = "train"
    num_samples: Optional[int] = None
    labels: Optional[Sequence[str]] = None
    """Tags of other types than CLUENER's ten."""

    def __post_init__(self):
        check_samples(self.num_samples)

    def label_set(self) -> LabelSet:
        """Return the tags of the format: the 31 of CLUENER in the order of r0.3, or those that were given."""
        if self.labels is not None:
            return LabelSet.of_labels(self.labels, "data_loader.labels")
        return LabelSet.of_types(CLUENER_TYPES, "BIOS")

    def read(self, types: Optional[Collection[str]] = None) -> EntityRows:
        """Return the usable rows; `types` other than those of `label_set` may be accepted instead.

        A row is rejected when it is no JSON object, has no text, or when an entity is of another type, does not lie in
        the text, or is not what stands at its place. Raises DataError when more than 1 % are, or none is left.
        """
        file = split_file(self.dataset_dir, self.stage, (f"{self.stage}.json",))
        rejections = Rejections(str(file))
        accepted = self.label_set().types if types is None else types
        records = []
        for row in read_rows(file, ("text", "label"), rejections=rejections):
            try:
                records.append(cluener_record(row, accepted))
            except ValueError as error:
                rejections.add(row.place, str(error))
        rejections.close(len(records) + len(rejections), accepted=CLUENER_FORMAT)
        return EntityRows(records[: self.num_samples], self.label_set().scheme)

    def identity(self) -> Dict[str, object]:
        """Return what decides the content, for the key of a cache."""
        file = split_file(self.dataset_dir, self.stage, (f"{self.stage}.json",))
        return {"format": "cluener", "file": file_digest(file), "num_samples": self.num_samples}


@dataclass(frozen=True)
class CoNLLDataLoader:
    """Sentences in columns, a token a line: a folder with one file a split (train.txt, eng.train ...), or one file."""

    dataset_dir: Union[str, Path]
    stage: str = "train"
    num_samples: Optional[int] = None
    """Sentences used; all when absent."""
    token_column: int = 0
    tag_column: int = -1
    """Counted from 0; -1 is the last."""
    scheme: Optional[str] = None
    """A key of `tags.SCHEMES`; found in the file when absent."""
    labels: Optional[Sequence[str]] = None
    """Tags that the model tells apart; made of the types in the training file when absent."""
    separator: str = " "
    """What stands between two tokens of a sentence in the text; "" for Chinese, one character a line."""

    def __post_init__(self):
        check_samples(self.num_samples)
        if self.scheme is not None and self.scheme not in SCHEMES:
            raise UsageError(f"scheme={self.scheme!r}: accepted are {', '.join(SCHEMES)}")

    def label_set(self) -> Optional[LabelSet]:
        """Return the tags that were given, None when they have to be found in the data."""
        return None if self.labels is None else LabelSet.of_labels(self.labels, "data_loader.labels")

    def read(self, types: Optional[Collection[str]] = None) -> EntityRows:
        """Return the usable sentences; a type outside of `types` rejects one, as a missing column or a bad tag does.

        I- without a beginning begins an entity in IOB1, where that is the format, and in IOB2, where the repairs are
        counted and logged; BIOES and BIOS reject the sentence. Raises DataError when more than 1 % are rejected, or
        none is left.
        """
        file = self._file()
        rejections = Rejections(str(file), "sentence")
        given = self.label_set()
        accepted = given.types if types is None and given is not None else types
        sentences = [
            item for item in (self._columns(lines, rejections) for lines in sentences_of(file)) if item is not None
        ]
        scheme = self.scheme or find_scheme(tags for _, _, tags in sentences)
        records, repaired = [], 0
        for place, tokens, tags in sentences:
            try:
                record, repairs = tagged_record(tokens, tags, scheme, place, accepted, self.separator)
            except ValueError as error:
                rejections.add(place, str(error))
            else:
                records.append(record)
                repaired += repairs
        rejections.close(len(records) + len(rejections), accepted=COLUMN_FORMAT)
        if repaired:
            logger.warning("%s: %d times I- begins an entity; it is read as B-, as conlleval does", file, repaired)
        logger.info("%s: %s in %s", file, counted(len(records), "sentence"), scheme)
        return EntityRows(records[: self.num_samples], scheme)

    def identity(self) -> Dict[str, object]:
        """Return what decides the content, for the key of a cache."""
        columns = [self.token_column, self.tag_column, self.scheme, self.separator]
        return {
            "format": "conll",
            "file": file_digest(self._file()),
            "num_samples": self.num_samples,
            "columns": columns,
        }

    def _file(self) -> Path:
        stems = ("dev", "valid") if self.stage == "dev" else (self.stage,)
        names = [f"{stem}{ending}" for stem in stems for ending in COLUMN_ENDINGS]
        return split_file(self.dataset_dir, self.stage, (*names, OFFICIAL_COLUMNS.get(self.stage, names[0])))

    def _columns(self, lines: List[Row], rejections: Rejections) -> Optional[Tuple[str, List[str], List[str]]]:
        """Return place, tokens and tags of a sentence; None when a line of it lacks a column."""
        tokens, tags = [], []
        for line in lines:
            text = line.values["text"]
            fields = [item.strip() for item in text.split("\t")] if "\t" in text else text.split()
            wanted = (self.token_column, self.tag_column)
            places = [column % len(fields) if -len(fields) <= column < len(fields) else None for column in wanted]
            if NO_UTF8.search(text):
                reason = "a byte is not UTF-8"
            elif None in places or places[0] == places[1]:
                reason = (
                    f"{counted(len(fields), 'column')} in {text[:80]!r}, but the token is in column "
                    f"{self.token_column} and the tag in column {self.tag_column}"
                )
            elif not fields[self.token_column] or not fields[self.tag_column]:
                reason = f"the token or the tag is empty in {text[:80]!r}"
            else:
                tokens.append(fields[self.token_column])
                tags.append(fields[self.tag_column])
                continue
            rejections.add(line.place, reason)
            return None
        return lines[0].place, tokens, tags


def check_samples(number: Optional[int]) -> None:
    """Raise UsageError for a number of rows below 1."""
    if number is not None and number < 1:
        raise UsageError(f"num_samples={number}: it must be at least 1, or absent for all")


def split_file(path: Union[str, Path], stage: str, names: Sequence[str]) -> Path:
    """Return the file of a split. Raises DataError, also for a folder that Hugging Face `datasets` saved."""
    place = split_path(path, stage, names)
    if place.is_dir():
        raise DataError(f"{place}: a saved dataset has no entities of this format; give the file {names[0]}")
    return place


def cluener_record(row: Row, types: Optional[Collection[str]]) -> Record:
    """Return a row of CLUENER's format as a record. Raises ValueError with the reason when it cannot be used."""
    text, labels = row.values["text"], row.values["label"]
    if not isinstance(text, str):
        raise ValueError(f"the text is {text!r}, it must be text")
    if not text.strip():
        raise ValueError("the text is empty")
    entities = []
    for kind, mention, first, last in mentions(labels):
        found = text[first : last + 1] if 0 <= first <= last < len(text) else None
        if found is not None and found != mention:
            raise ValueError(f"the {kind} {mention!r} is not at characters {first} to {last}, where {found!r} stands")
        entities.append(Span(kind, first, last + 1))
    return checked_record(text, entities, row.place, types)


def mentions(labels: Any) -> Iterator[Tuple[str, str, int, int]]:
    """Yield type, mention, first and last character of every entity. Raises ValueError for another structure."""
    try:
        for kind, found in labels.items():
            for mention, places in found.items():
                for first, last in places:
                    if type(first) is not int or type(last) is not int:
                        raise TypeError(f"{[first, last]} are no whole numbers")
                    yield kind, mention, first, last
    except (AttributeError, TypeError, ValueError) as error:
        raise ValueError(f"'label' is not {{type: {{mention: [[first, last], ...]}}}} ({error})") from None


def sentences_of(file: Path) -> Iterator[List[Row]]:
    """Yield the lines of every sentence; -DOCSTART- lines belong to none."""
    lines: List[Row] = []
    for row in READERS[".txt"](file, Rejections(str(file)), None):
        text = row.values["text"].strip()
        if text and not text.startswith(DOCUMENT_START):
            lines.append(row)
        elif lines:
            yield lines
            lines = []
    if lines:
        yield lines


def tagged_record(
    tokens: Sequence[str],
    tags: Sequence[str],
    scheme: str,
    place: str,
    types: Optional[Collection[str]],
    separator: str = " ",
) -> Tuple[Record, int]:
    """Return a sentence as a record, its tokens joined, and how many beginnings were repaired. Raises ValueError."""
    if len(tokens) != len(tags):
        raise ValueError(f"there are {counted(len(tokens), 'token')} and {counted(len(tags), 'tag')}")
    words, begin = [], 0
    for token in tokens:
        words.append((begin, begin + len(token)))
        begin += len(token) + len(separator)
    spans, repaired = read_tags(tags, scheme)
    entities = [Span(span.type, words[span.start][0], words[span.end - 1][1]) for span in spans]
    return checked_record(separator.join(tokens), entities, place, types, words), repaired


@dataclass(frozen=True)
class OwnRows:
    """Rows of a user's own: `Record`s or mappings, see `OWN_FORMATS`."""

    rows: Sequence[object]

    def label_set(self) -> None:
        """Return None: the tags have to be found in the rows."""

    def read(self, types: Optional[Collection[str]] = None) -> EntityRows:
        """Return the rows as records. Raises DataError that names the row which is none."""
        scheme = find_scheme(row["tags"] for row in self.rows if isinstance(row, Mapping) and "tags" in row)
        records = [self._record(row, f"row {number}", types, scheme) for number, row in enumerate(self.rows)]
        if not records:
            raise DataError(f"the dataset has no row; {OWN_FORMATS}")
        return EntityRows(records, scheme)

    def _record(self, row: Any, place: str, types: Optional[Collection[str]], scheme: str) -> Record:
        try:
            if isinstance(row, Record):
                return checked_record(row.text, row.entities, row.place, types, row.words)
            if "tokens" in row:
                return tagged_record(row["tokens"], row["tags"], scheme, place, types)[0]
            if "label" in row:
                return cluener_record(Row(place, dict(row)), types)
            spans = [Span(item["type"], item["start"], item["end"]) for item in row["entities"]]
            return checked_record(row["text"], spans, place, types)
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            reason = str(error) if isinstance(error, ValueError) else f"it cannot be read ({error!r})"
            raise DataError(f"{place} of the dataset: {reason}; {OWN_FORMATS}") from error
