"""Folders that hold a dataset's splits under their usual names, or one dataset without splits."""

from __future__ import annotations

from pathlib import Path
from typing import Dict, Sequence

from mindformers.data.rows import SPLIT_NAMES
from mindformers.errors import DataError


def split_of(folder: Path, stage: str, endings: Sequence[str]) -> Path:
    """Return what a folder holds of a split (`train`, or train with an ending), the folder itself without splits.

    Raises DataError when the folder holds other splits than the one asked for.
    """
    held: Dict[str, Path] = {}
    for split, stems in SPLIT_NAMES.items():
        places = (folder / f"{stem}{ending}" for stem in stems for ending in ("", *endings))
        found = next((place for place in places if place.exists()), None)
        if found is not None:
            held[split] = found
    if not held:
        return folder
    if stage not in held:
        raise DataError(
            f"{folder}: holds {', '.join(sorted({place.name for place in held.values()}))}, but nothing of the split "
            f"'{stage}'; name it {' or '.join(SPLIT_NAMES.get(stage, (stage,))[:2])}{endings[0]}, or give the path of "
            "the data itself"
        )
    return held[stage]
