"""Arrays kept on disk between runs under a name that says what they were made from."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import zipfile
from pathlib import Path
from typing import Callable, Dict, Mapping, Optional

import numpy as np

from mindformers.log import logger

Arrays = Dict[str, np.ndarray]


def default_cache() -> Path:
    """Return the user's folder for prepared features."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mindformers" / "features"


def cache_key(**sources: object) -> str:
    """Return a digest of everything that decides the content: plain values, file and tokenizer digests."""
    return hashlib.sha256(json.dumps(sources, sort_keys=True).encode("utf-8")).hexdigest()[:32]


def file_digest(path: Path) -> str:
    """Return the SHA-256 of a file's bytes."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        for block in iter(lambda: stream.read(1 << 20), b""):
            digest.update(block)
    return digest.hexdigest()


def load_or_build(folder: Optional[Path], name: str, key: str, build: Callable[[], Arrays]) -> Arrays:
    """Return the arrays of `folder`/`name`-`key`.npz, building and storing them when the file is absent or corrupt.

    Without a folder nothing is stored. A folder that cannot be written costs a log line, not the run.
    """
    if folder is None:
        return build()
    file = Path(folder) / f"{name}-{key}.npz"
    if file.exists():
        try:
            return read_arrays(file)
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
            logger.warning("%s: the cached features are damaged (%s); they are built again", file, error)
    arrays = build()
    try:
        write_arrays(file, arrays)
    except OSError as error:
        logger.warning("%s: features cannot be cached here (%s); they will be built again next time", folder, error)
    return arrays


def read_arrays(file: Path) -> Arrays:
    """Read every array of a file; the checksums inside it are verified."""
    with file.open("rb") as stream, np.load(stream, allow_pickle=False) as stored:
        return {name: stored[name] for name in stored.files}


def write_arrays(file: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write under a temporary name, then rename: readers and other processes never see half a file."""
    file.parent.mkdir(parents=True, exist_ok=True)
    temporary = file.with_name(f".{file.name}.{os.getpid()}-{secrets.token_hex(4)}.tmp")
    try:
        with temporary.open("xb") as stream:
            np.savez(stream, **arrays)
        os.replace(temporary, file)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
