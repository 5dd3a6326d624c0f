"""From what a user calls weights (a folder, a file, a name) to the place on disk."""

from __future__ import annotations

from pathlib import Path
from typing import List, Optional

from mindformers.errors import CheckpointError, suggestion
from mindformers.weights import hub

DOWNLOADS = Path("checkpoint_download")
"""Where weights that are known by name lie: ``checkpoint_download/<family>/<name>`` (a folder or a file)."""
SUFFIXES = ("", ".safetensors", ".ckpt", ".bin")
ADVICE = (
    "Give the folder or file of the weights (a Hugging Face folder with config.json and model.safetensors, or a "
    f"checkpoint of a run), or put it at ./{DOWNLOADS}/<family>/<name>."
)
MIRROR = " HF_ENDPOINT names a mirror of the hub, HF_HOME the folder where its client keeps copies."


def find_weights(name_or_path: str, revision: Optional[str] = None) -> Path:
    """Return the folder or file: an existing path, a name below `DOWNLOADS`, else a copy of the hub's files.

    `revision` is a branch, tag or commit of the hub. Raises CheckpointError that says where it was looked for.
    """
    return find_local(name_or_path) or _from_hub(name_or_path, revision, with_weights=True)


def find_description(name_or_path: str, revision: Optional[str] = None) -> Path:
    """As `find_weights`, for a caller that reads config.json or the tokenizer: the hub is not asked for weights."""
    return find_local(name_or_path) or _from_hub(name_or_path, revision, with_weights=False)


def find_local(name_or_path: str) -> Optional[Path]:
    """Return the existing path, or what lies below `DOWNLOADS` under this name; None for nothing."""
    path = Path(name_or_path).expanduser()
    if path.exists():
        return path
    if _is_name(name_or_path):
        for holder in [DOWNLOADS, *sorted(item for item in DOWNLOADS.glob("*") if item.is_dir())]:
            for suffix in SUFFIXES:
                candidate = holder / f"{path.name}{suffix}"
                if candidate.exists():
                    return candidate
    return None


def _is_name(text: str) -> bool:
    return not text.startswith((".", "/", "~")) and 1 <= len(Path(text).parts) <= 2


def _from_hub(name_or_path: str, revision: Optional[str], with_weights: bool) -> Path:
    path = Path(name_or_path).expanduser()
    looked: List[str] = [f"no such path: {path}"]
    if not _is_name(name_or_path):
        raise CheckpointError(name_or_path, looked, ADVICE)
    looked.append(f"nothing named '{path.name}' below ./{DOWNLOADS}/<family>/")
    identity = hub.identity(name_or_path)
    if identity is None:
        known = suggestion(path.name, sorted(hub.RELEASED))
        looked.append(f"'{name_or_path}' is neither owner/name on the hub nor a name of released weights.{known}")
        raise CheckpointError(name_or_path, looked, ADVICE)
    try:
        return hub.fetch(identity, revision, with_weights)
    except CheckpointError as error:
        raise CheckpointError(name_or_path, [*looked, *error.mismatches], ADVICE + MIRROR) from error
