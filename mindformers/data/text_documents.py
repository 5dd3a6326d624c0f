"""Text files to documents, and documents to tokens.

All tokens are made before the first step and held in memory, four bytes each; text of more than some hundred million
tokens belongs into an indexed dataset (`data.indexed`), which is not.
"""

from __future__ import annotations

import gzip
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, Iterable, Iterator, List, Optional, Tuple, Union

import numpy as np

from mindformers.data.arrow_rows import STATE_FILE, arrow_files
from mindformers.data.cache import cache_key, default_cache, file_digest, load_or_build
from mindformers.data.pack import BlockSource, Tokens
from mindformers.data.rows import Rejections, read_rows
from mindformers.data.splits import split_of
from mindformers.errors import DataError, UsageError

FORMAT_VERSION = 1
"""Raise it when the tokens of the same text change: caches of older versions are then not found."""
PLAIN = ".txt"
TABLES = (".json", ".jsonl", ".parquet", ".arrow", ".csv", ".tsv")
UNITS = ("file", "line", "blank_line")
TEXTS_AT_ONCE = 256
"""Documents that are tokenised together."""


@dataclass(frozen=True)
class TextDataLoader(BlockSource):
    """Blocks of text: a file, or all text files below a folder in the order of their names.

    Of a folder with splits (train.txt, valid.txt ...) `stage` chooses one; a folder that Hugging Face `datasets` saved
    is one too.

    Files ending in .json, .jsonl, .parquet, .arrow, .csv or .tsv (also with .gz) hold a document a row; every other
    file is plain text in UTF-8.
    """

    documents: str = "file"
    """What a document is in plain text: the "file", a "line" that is not blank, or what "blank_line"s part."""
    text_key: str = "text"
    """Column of the text in files with rows."""
    cache_dir: Optional[str] = None
    """Folder for tokens that were made before; the user's cache folder when absent."""

    def __post_init__(self):
        super().__post_init__()
        if self.documents not in UNITS:
            raise UsageError(f"documents='{self.documents}': accepted are {', '.join(UNITS)}")

    def files(self) -> List[Path]:
        """Return the text files. Raises DataError when there is none."""
        place = Path(self.dataset_dir).expanduser()
        if place.is_file():
            return [place]
        if not place.is_dir() or not str(self.dataset_dir):
            raise DataError(f"dataset_dir: no such file or folder: '{self.dataset_dir}'; give text or a folder of it")
        place = split_of(place, self.stage, (PLAIN, *TABLES))
        if place.is_file():
            return [place]
        if (place / STATE_FILE).is_file():
            return arrow_files(place)
        found = sorted(file for file in place.rglob("*") if file.is_file() and _is_text(file, place))
        if not found:
            raise DataError(
                f"{place}: the folder holds no text; accepted are {PLAIN}, {', '.join(TABLES)}, and .gz of these"
            )
        return found

    def texts(self) -> Iterator[str]:
        """Yield the documents. Raises DataError for files that cannot be read, or when too many are unusable."""
        rejected, used = Rejections(str(self.dataset_dir), "document"), 0
        for file in self.files():
            for place, text in self._documents(file, rejected):
                if not isinstance(text, str):
                    rejected.add(place, f"'{self.text_key}' is {text!r}, no text")
                elif text.strip():
                    used += 1
                    yield text
                elif self.documents == "file" or not _is_plain(file):
                    rejected.add(place, "the text is empty")  # elsewhere a blank line parts documents
        rejected.close(used + len(rejected))

    def stream(self, tokenizer: Any) -> Tokens:
        """Return the tokens of all documents, an end-of-text token behind each; from the cache when they are there.

        Raises DataError when there is no tokenizer, or no end-of-text token to part documents with.
        """
        if tokenizer is None:
            raise DataError(
                "text needs a tokenizer: keep its files beside the weights, or set train_dataset.tokenizer with a "
                "vocab_file; tokens of an indexed dataset or MindRecord need none"
            )
        key = cache_key(
            version=FORMAT_VERSION,
            tokenizer=tokenizer.digest(),
            files=[[_ending(file), file_digest(file)] for file in self.files()],
            documents=self.documents,
            text_key=self.text_key,
        )
        folder = Path(self.cache_dir) if self.cache_dir else default_cache()
        arrays = load_or_build(folder, "text", key, lambda: vars(tokens_of(self.texts(), tokenizer)))
        return Tokens(**arrays)

    def _documents(self, file: Path, rejected: Rejections) -> Iterator[Tuple[str, Any]]:
        """Yield (place, text) of a file."""
        if not _is_plain(file):
            for row in read_rows(file, [self.text_key], rejections=rejected):
                yield row.place, row.values[self.text_key]
        elif self.documents == "file":
            text = _decoded(file, rejected)
            if text is not None:
                yield str(file), text
        else:
            yield from _parted(file, rejected, by_line=self.documents == "line")


def _ending(file: Path) -> str:
    return Path(file.stem).suffix if file.suffix == ".gz" else file.suffix


def _is_plain(file: Path) -> bool:
    return _ending(file) not in TABLES


def _is_text(file: Path, folder: Path) -> bool:
    """Return whether a file of a folder is taken for text: no hidden one, and of a known ending."""
    hidden = any(part.startswith(".") for part in file.relative_to(folder).parts)
    return not hidden and _ending(file) in (PLAIN, *TABLES)


def _decoded(file: Path, rejected: Rejections) -> Optional[str]:
    """Return the text of a file; one that is not UTF-8 is rejected. Raises DataError when it cannot be read."""
    try:
        content = gzip.decompress(file.read_bytes()) if file.suffix == ".gz" else file.read_bytes()
        return content.decode("utf-8-sig")
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{file}: not readable ({error})") from error
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        rejected.add(f"{file}:{line}", f"byte 0x{content[error.start]:02x} at {error.start} is not UTF-8 text")
        return None


def _parted(file: Path, rejected: Rejections, by_line: bool) -> Iterator[Tuple[str, str]]:
    """Yield the lines of a file, or its paragraphs."""
    lines: List[str] = []
    begin = str(file)
    for row in read_rows(file, rejections=rejected):
        text = row.values["text"]
        if by_line:
            yield row.place, text
        elif text.strip():
            begin = begin if lines else row.place
            lines.append(text)
        elif lines:
            yield begin, "\n".join(lines)
            lines = []
    if lines:
        yield begin, "\n".join(lines)


def tokens_of(texts: Iterable[str], tokenizer: Any) -> Tokens:
    """Return the tokens of documents, the end-of-text token behind each one.

    Raises DataError when there is no such token and more than one document.
    """
    end = [] if tokenizer.eos_token_id is None else [tokenizer.eos_token_id]
    documents: List[np.ndarray] = []
    batch: List[str] = []

    def flush() -> None:
        documents.extend(np.concatenate([item.ids, end]).astype(np.int32) for item in tokenizer.encode_batch(batch))
        batch.clear()

    for text in texts:
        batch.append(text)
        if len(batch) == TEXTS_AT_ONCE:
            flush()
    flush()
    if not end and len(documents) > 1:
        raise DataError(
            f"{len(documents)} documents, but the tokenizer has no eos_token to part them with; set tokenizer.eos_token"
        )
    return Tokens.of(documents)


def texts_from(rows: Iterable[object], text_key: str = "text") -> List[str]:
    """Return a user's own rows, texts or mappings with a text, as texts. Raises DataError that names the row."""
    texts: List[str] = []
    for number, row in enumerate(rows):
        text: Union[object, Dict[str, object]] = row.get(text_key) if isinstance(row, dict) else row
        if not isinstance(text, str) or not text.strip():
            raise DataError(
                f"row {number} of the dataset is no text: {row!r}; give texts, or mappings with '{text_key}'"
            )
        texts.append(text)
    return texts
