"""From what a user calls weights (a folder, a file, a name) to the place on disk."""

from __future__ import annotations

from pathlib import Path

from mindformers.errors import CheckpointError

DOWNLOADS = Path("checkpoint_download")
"""Where weights that are known by name lie: ``checkpoint_download/<family>/<name>`` (a folder or a file)."""
SUFFIXES = ("", ".safetensors", ".ckpt", ".bin")


def find_weights(name_or_path: str) -> Path:
    """Return the existing folder or file; raises CheckpointError that says where it was looked for."""
    path = Path(name_or_path).expanduser()
    if path.exists():
        return path
    looked = [f"no such path: {path}"]
    if len(path.parts) <= 2:
        for holder in [DOWNLOADS, *sorted(item for item in DOWNLOADS.glob("*") if item.is_dir())]:
            for suffix in SUFFIXES:
                candidate = holder / f"{path.name}{suffix}"
                if candidate.exists():
                    return candidate
        looked.append(f"nothing named '{path.name}' below ./{DOWNLOADS}/<family>/")
    raise CheckpointError(
        name_or_path,
        looked,
        "Give the folder or file of the weights "
        "(a Hugging Face folder with config.json and model.safetensors, or a checkpoint of a run).",
    )
