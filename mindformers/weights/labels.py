"""Names of a classifier's outputs, kept beside its weights: labels.json of a run, id2label of a config.json."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Optional, Sequence, Tuple

from mindformers.errors import CheckpointError
from mindformers.weights.folder import CONFIG

LABELS = "labels.json"
UNNAMED = re.compile(r"LABEL_\d+")
"""What Hugging Face calls an output that nobody named."""


def write_labels(folder: Path, labels: Sequence[str]) -> None:
    """Write the names of the outputs, in their order, into a checkpoint's folder."""
    content = {"id2label": {str(number): label for number, label in enumerate(labels)}}
    (folder / LABELS).write_text(json.dumps(content, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")


def read_labels(weights: Path) -> Optional[Tuple[str, ...]]:
    """Return the names of the outputs beside `weights` (a folder or file), None when nobody named them.

    Raises CheckpointError for a file that does not number its labels from 0 on, each once.
    """
    folder = weights if weights.is_dir() else weights.parent
    file = next((folder / name for name in (LABELS, CONFIG) if (folder / name).is_file()), None)
    if file is None:
        return None
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        named = {int(number): str(label) for number, label in (content.get("id2label") or {}).items()}
    except (OSError, ValueError, AttributeError) as error:
        raise CheckpointError(str(file), [f"not readable as labels ({error})"]) from error
    labels = tuple(named[number] for number in sorted(named))
    if not labels or all(UNNAMED.fullmatch(label) for label in labels):
        return None
    if sorted(named) != list(range(len(labels))) or len(set(labels)) != len(labels):
        problem = f"id2label must number different labels from 0 on; it is {named}"
        raise CheckpointError(str(file), [problem], 'Write it as {"id2label": {"0": "first label", ...}}.')
    return labels
