"""Rows of Parquet and Arrow files, and of the folders that Hugging Face `datasets` saves (`save_to_disk`)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Dict, Iterator, List, Optional

from mindformers.errors import DataError, MissingExtraError

STATE_FILE = "state.json"
DESCRIPTION = "dataset_info.json"
METADATA = b"huggingface"
"""Key of a file's schema under which `datasets` keeps its features."""


def read_arrow(place: Path) -> Iterator[Dict[str, Any]]:
    """Yield every row of a file or saved folder as Python values. Raises DataError, MissingExtraError."""
    arrow = _arrow()
    try:
        for file in arrow_files(place):
            if file.suffix == ".parquet":
                with arrow.parquet.ParquetFile(file) as parquet:
                    for batch in parquet.iter_batches():
                        yield from batch.to_pylist()
            else:
                with arrow.memory_map(str(file)) as source:
                    for batch in arrow.ipc.open_stream(source):
                        yield from batch.to_pylist()
    except (OSError, arrow.ArrowException) as error:
        raise DataError(f"{place}: not readable as Arrow data ({error})") from error


def class_names(place: Path, column: str) -> Optional[List[str]]:
    """Return the names of the classes that a column's whole numbers stand for; None when the data does not say.

    A column of lists (a label a word) is looked into.
    """
    feature = _features(place).get(column)
    while feature and isinstance(feature, (dict, list)):
        if isinstance(feature, dict) and "names" in feature:
            return list(feature["names"])
        feature = feature[0] if isinstance(feature, list) else feature.get("feature")
    return None


def _features(place: Path) -> Dict[str, Any]:
    """Return what `datasets` wrote about the columns, {} when it wrote nothing."""
    if (place / DESCRIPTION).is_file():
        return _description(place / DESCRIPTION).get("features") or {}
    if place.suffix != ".parquet":
        return {}
    arrow = _arrow()
    try:
        metadata = arrow.parquet.read_schema(place).metadata or {}
    except (OSError, arrow.ArrowException) as error:
        raise DataError(f"{place}: not readable as Parquet ({error})") from error
    return json.loads(metadata.get(METADATA, b"{}")).get("info", {}).get("features") or {}


def arrow_files(place: Path) -> List[Path]:
    """Return the data files of a file or saved folder, in the order of their rows."""
    if place.is_file():
        return [place]
    state = place / STATE_FILE
    if not state.is_file():
        raise DataError(
            f"{place}: no file, and no folder that Hugging Face datasets saved (it would hold {STATE_FILE}); "
            "of a folder with several splits, name one"
        )
    try:
        return [place / item["filename"] for item in _description(state)["_data_files"]]
    except (KeyError, TypeError) as error:
        raise DataError(f"{state}: lists no data files ({error!r}); the folder may not be saved completely") from error


def _description(file: Path) -> Dict[str, Any]:
    """Return the object in a JSON file beside the data. Raises DataError."""
    try:
        values = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{file}: not readable ({error}); the folder may not be saved completely") from error
    return values if isinstance(values, dict) else {}


def _arrow() -> Any:
    try:
        import pyarrow
        import pyarrow.ipc
        import pyarrow.parquet
    except ModuleNotFoundError:
        raise MissingExtraError("pyarrow", "arrow", "reading Parquet and Arrow files") from None
    return pyarrow
