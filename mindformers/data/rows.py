"""Rows of tables and text files, each with its place; rows that cannot be used are collected with the reason.

A reader goes over `read_rows`, checks every row, adds what it cannot use to `Rejections` and closes it at the end.
"""

from __future__ import annotations

import csv
import gzip
import json
import re
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, Optional, Sequence, Tuple, Union

from mindformers.errors import DataError, counted, listing
from mindformers.log import logger

MAX_BAD_SHARE = 0.01
"""Share of rejected rows that stops a run: more of them say that the file is not what it is taken for."""
SHOWN_REJECTIONS = 5
"""How many rejected rows are shown one by one."""
SHOWN_TEXT = 80
UTF8_BOM = b"\xef\xbb\xbf"
UTF16_BOMS = (b"\xff\xfe", b"\xfe\xff")
NO_UTF8 = re.compile("[\ud800-\udfff]")
"""Half a character, as an escape in JSON may write it, or what Python puts for a byte with "surrogateescape"."""
BYTES = range(0xDC80, 0xDD00)
"""Of these, what stands for a byte."""
CUT_OFF = "unexpected end of data"
"""What the csv module says of a quote that the file never closes."""
ARROW_SUFFIXES = (".parquet", ".arrow")
ONLY_SHARD = "-00000-of-00001.parquet"
"""Behind the name of a split that a data set of the hub holds in one file."""
SPLIT_NAMES = {
    "train": ("train", "training"),
    "dev": ("dev", "validation", "valid", "val", "eval"),
    "eval": ("dev", "validation", "valid", "val", "eval"),
    "test": ("test",),
    "dev_matched": ("dev_matched", "validation_matched", "dev", "validation"),
    "dev_mismatched": ("dev_mismatched", "validation_mismatched"),
}
"""Names under which a folder may hold a split, the likeliest first."""


@dataclass(frozen=True)
class Row:
    """One row of a file."""

    place: str
    """``file:line`` of its first line, counted from 1, or ``file[index]``, from 0, where a format has no lines."""
    values: Dict[str, Any]
    """Column to value: text in .tsv, .csv and .txt (column ``text``), JSON or arrow values elsewhere."""


@dataclass(frozen=True)
class Rejection:
    """A row that is not used, and why."""

    place: str
    reason: str

    def __str__(self) -> str:
        return f"{self.place}: {self.reason}"


@dataclass
class Rejections:
    """Rows of one source that are not used."""

    source: str
    """What the messages call it, e.g. the file."""
    noun: str = "row"
    rows: List[Rejection] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.rows)

    def add(self, place: str, reason: str) -> None:
        """Keep a row that is not used."""
        self.rows.append(Rejection(place, reason))

    def close(self, total: int, max_bad_share: float = MAX_BAD_SHARE, accepted: str = "") -> None:
        """Log the rejected ones of `total` rows (used and rejected together).

        Raises DataError with places and reasons when their share is above `max_bad_share` or no row is left;
        `accepted` tells there what would be usable.
        """
        number = len(self.rows)
        advice = f"\n{accepted}" if accepted else ""
        if number >= total:
            title = f"{self.source}: no usable {self.noun}" + (
                f"; {'the only one was' if number == 1 else f'all {number} were'} rejected:" if number else ""
            )
            raise DataError(listing(title, self.rows, SHOWN_REJECTIONS) + advice)
        if number > max_bad_share * total:
            raise DataError(
                listing(
                    f"{self.source}: {number} of {counted(total, self.noun)} rejected, more than "
                    f"{max_bad_share:.0%} of the data, so it may not be what it is taken for:",
                    self.rows,
                    SHOWN_REJECTIONS,
                )
                + advice
            )
        log_rejections(f"{self.source}: {number} of {counted(total, self.noun)} rejected", self.rows)


def log_rejections(summary: str, rows: Sequence[Rejection]) -> None:
    """Warn about rows: one line of summary, then the first few; nothing when there is none."""
    if not rows:
        return
    logger.warning("%s; the first:", summary)
    for row in rows[:SHOWN_REJECTIONS]:
        logger.warning("  %s", row)


def split_path(path: Union[str, Path], split: str, names: Sequence[str] = ()) -> Path:
    """Return the file or folder of a split: `path` itself when it is a file or one saved dataset, else within it.

    `names` are file names tried before the usual ones (train.tsv, validation.jsonl, ...). Raises DataError.
    """
    place = Path(path)
    if place.is_file() or (place / "state.json").is_file():
        return place
    if not place.exists():
        raise DataError(f"{place}: no such {'file' if place.suffix else 'folder'}; give a file or a folder of splits")
    stems = SPLIT_NAMES.get(split, (split,))
    endings = ("", *(f"{suffix}{packed}" for suffix in READERS for packed in ("", ".gz")), *ARROW_SUFFIXES, ONLY_SHARD)
    for name in (*names, *(f"{stem}{ending}" for stem in stems for ending in endings)):
        found = place / name
        if found.is_file() or (found / "state.json").is_file():
            return found
    present = sorted(item.name for item in place.iterdir())[:10]
    raise DataError(
        f"{place}: no file of the split '{split}'; the folder holds {', '.join(present) or 'nothing'}. Name it "
        f"{' or '.join(names[:2]) or f'{stems[0]}.tsv, .csv, .jsonl or .parquet'}, or give the path of the file itself"
    )


def read_rows(
    path: Union[str, Path],
    columns: Optional[Sequence[str]] = None,
    *,
    rejections: Optional[Rejections] = None,
    header: Optional[Sequence[str]] = None,
) -> Iterator[Row]:
    """Yield the rows of a file or of a folder that Hugging Face `datasets` saved.

    Files: .tsv (quotes are plain characters), .csv, .json (a list of objects, or one object a line), .jsonl, .txt
    (one text a line, blank ones included), .gz of these, .parquet, .arrow. `columns` must be there; `header` names
    the columns of a .tsv or .csv that has no header line. A row that cannot be read goes to `rejections`; without
    it, it raises DataError, as a file does that cannot be read at all or lacks a column.
    """
    place = Path(path)
    problems = rejections if rejections is not None else _FirstProblem(str(place))
    rows = _rows_of(place, problems, header)
    first = next(rows, None)
    if first is None:
        return
    # Rows of JSON may differ in their columns: there, only what no row could have is the file's mistake.
    missing = [name for name in columns or () if name not in first.values]
    if missing and not _is_json(place):
        raise DataError(
            f"{place}: column {' and '.join(map(repr, missing))} is missing; the file has "
            f"{', '.join(map(repr, first.values))}"
        )
    for row in _chain(first, rows):
        reason = unreadable(row, columns or ())
        if reason:
            problems.add(row.place, reason)
        else:
            yield row


def read_lines(path: Union[str, Path]) -> Iterator[Row]:
    """Yield the lines of a text file of any ending, .gz unpacked, as column `text`; `unreadable` says what is none.

    Raises DataError for a file that cannot be read.
    """
    place = Path(path)
    return (Row(f"{place}:{number}", {"text": line}) for number, line in _lines(place))


class _FirstProblem(Rejections):
    """Raises at the first row."""

    def add(self, place: str, reason: str) -> None:
        raise DataError(f"{place}: {reason}")


def _rows_of(place: Path, rejections: Rejections, header: Optional[Sequence[str]]) -> Iterator[Row]:
    """Return the rows by the kind of the file."""
    if place.is_dir() or place.suffix in ARROW_SUFFIXES:
        from mindformers.data.arrow_rows import read_arrow  # an optional package

        return (Row(f"{place}[{index}]", values) for index, values in enumerate(read_arrow(place)))
    suffix = _suffix(place)
    if suffix not in READERS:
        raise DataError(
            f"{place}: files ending in '{place.suffix}' cannot be read; accepted are {', '.join(READERS)}, .gz of "
            f"these, {', '.join(ARROW_SUFFIXES)}, and a folder saved by Hugging Face datasets"
        )
    if not place.is_file():
        raise DataError(f"{place}: no such file")
    return READERS[suffix](place, rejections, header)


def _suffix(place: Path) -> str:
    return Path(place.stem).suffix if place.suffix == ".gz" else place.suffix


def _is_json(place: Path) -> bool:
    return _suffix(place) in (".json", ".jsonl")


def _chain(first: Row, rest: Iterator[Row]) -> Iterator[Row]:
    yield first
    yield from rest


def unreadable(row: Row, columns: Sequence[str] = ()) -> str:
    """Return why a row cannot be used at all, or ""."""
    for name in columns:
        if name not in row.values:
            return f"'{name}' is missing; the row has {', '.join(map(repr, row.values)) or 'nothing'}"
    for name, value in row.values.items():
        found = _foreign_byte(value)
        if found:
            return f"{found} of '{name}' is not UTF-8"
    return ""


def _foreign_byte(value: Any) -> str:
    """Return what is first not UTF-8 and its place in a text, or in a text within a list or object; or ""."""
    if isinstance(value, str):
        found = None if value.isascii() else NO_UTF8.search(value)
        if found is None:
            return ""
        code = ord(found.group())
        what = f"byte 0x{code - 0xDC00:02x}" if code in BYTES else f"half a character (\\u{code:04x})"
        return f"{what} at character {found.start()}"
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return next(filter(None, map(_foreign_byte, inner)), "")


# ---- lines


def _lines(place: Path) -> Iterator[Tuple[int, str]]:
    """Yield (number from 1, line without its end); bytes that are not UTF-8 come as escapes. Raises DataError."""
    opener: Callable[..., Any] = gzip.open if place.suffix == ".gz" else open
    try:
        with opener(place, "rb") as stream:
            for number, raw in enumerate(stream, start=1):
                if number == 1:
                    if raw.startswith(UTF16_BOMS):
                        raise DataError(f"{place}: the text is UTF-16; save it as UTF-8")
                    raw = raw[len(UTF8_BOM) :] if raw.startswith(UTF8_BOM) else raw
                yield number, raw.decode("utf-8", "surrogateescape").rstrip("\r\n")
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{place}: not readable ({error})") from error


def _read_txt(place: Path, rejections: Rejections, header: Optional[Sequence[str]]) -> Iterator[Row]:
    del rejections, header
    return read_lines(place)


def _read_tsv(place: Path, rejections: Rejections, header: Optional[Sequence[str]]) -> Iterator[Row]:
    names = list(header) if header else []
    for number, line in _lines(place):
        if not line.strip():
            continue
        fields = line.split("\t")
        if not names:
            names = _checked_header(place, fields)
        elif len(fields) != len(names):
            rejections.add(f"{place}:{number}", _wrong_count(fields, names))
        else:
            yield Row(f"{place}:{number}", dict(zip(names, fields)))


def _read_csv(place: Path, rejections: Rejections, header: Optional[Sequence[str]]) -> Iterator[Row]:
    names = list(header) if header else []
    reader = csv.reader((f"{line}\n" for _, line in _lines(place)), strict=True)
    while True:
        number = reader.line_num + 1
        try:
            fields = next(reader, None)
        except csv.Error as error:
            if str(error) == CUT_OFF:
                raise DataError(
                    f"{place}:{number}: a quote that opens in this row is never closed, so the rest of the file is "
                    "no row; close it, or write two quotes for one that is part of a text"
                ) from None
            _reject_lines(place, number, reader.line_num, f"no CSV row ({error}); a quote may be open", rejections)
            continue
        if fields is None:
            return
        if not fields:
            continue
        if not names:
            names = _checked_header(place, fields)
        elif len(fields) != len(names):
            _reject_lines(place, number, reader.line_num, _wrong_count(fields, names), rejections)
        else:
            yield Row(f"{place}:{number}", dict(zip(names, fields)))


def _reject_lines(place: Path, first: int, last: int, reason: str, rejections: Rejections) -> None:
    """Reject all lines that a broken row took in: after an open quote these are rows of their own, and they count."""
    taken = f", in the row that begins in line {first}" if last > first else ""
    for number in range(first, last + 1):
        rejections.add(f"{place}:{number}", reason + taken)


def _checked_header(place: Path, names: List[str]) -> List[str]:
    """Return the names of the columns. Raises DataError when one occurs twice."""
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise DataError(f"{place}:1: the column {twice[0]!r} occurs twice in the header; name columns differently")
    return names


def _wrong_count(fields: List[str], names: List[str]) -> str:
    """Return the words for a row with too few or too many fields."""
    quotes = "; a quote in it is not closed, so it may go on in the next line" if sum(map(_quotes, fields)) % 2 else ""
    return f"{counted(len(fields), 'field')} where the header has {len(names)}{quotes}"


def _quotes(text: str) -> int:
    return text.count('"')


# ---- JSON


def _read_json(place: Path, rejections: Rejections, header: Optional[Sequence[str]]) -> Iterator[Row]:
    """Yield the objects of a list, or of lines; what the file begins with decides."""
    first = next((line.lstrip() for _, line in _lines(place) if line.strip()), "")
    if first and not (first.startswith("{") and _is_object(first)):
        return _objects_of(place, rejections)
    return _read_json_lines(place, rejections, header)


def _is_object(line: str) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except ValueError:
        return False


def _read_json_lines(place: Path, rejections: Rejections, header: Optional[Sequence[str]]) -> Iterator[Row]:
    del header
    for number, line in _lines(place):
        if not line.strip():
            continue
        try:
            value = json.loads(line)
        except (ValueError, RecursionError) as error:
            rejections.add(f"{place}:{number}", f"no JSON ({error}): {line[:SHOWN_TEXT]!r}")
            continue
        if isinstance(value, dict):
            yield Row(f"{place}:{number}", value)
        else:
            rejections.add(f"{place}:{number}", f"no JSON object: {line[:SHOWN_TEXT]!r}")


def _objects_of(place: Path, rejections: Rejections) -> Iterator[Row]:
    """Yield the objects of a JSON list, which may stand under 'data'. Raises DataError."""
    try:
        content = json.loads("\n".join(line for _, line in _lines(place)))
    except json.JSONDecodeError as error:
        raise DataError(f"{place}:{error.lineno}: no JSON ({error.msg}); the file may be cut off") from error
    values = content.get("data") if isinstance(content, dict) else content
    if not isinstance(values, list):
        raise DataError(
            f"{place}: no rows; accepted are a JSON list of objects, an object with such a list under 'data', and "
            "one object a line"
        )
    for index, value in enumerate(values):
        if isinstance(value, dict):
            yield Row(f"{place}[{index}]", value)
        else:
            rejections.add(f"{place}[{index}]", f"no JSON object: {str(value)[:SHOWN_TEXT]!r}")


Reader = Callable[[Path, Rejections, Optional[Sequence[str]]], Iterator[Row]]
READERS: Dict[str, Reader] = {
    ".tsv": _read_tsv,
    ".csv": _read_csv,
    ".json": _read_json,
    ".jsonl": _read_json_lines,
    ".txt": _read_txt,
}
"""Ending of a text file -> its reader."""
