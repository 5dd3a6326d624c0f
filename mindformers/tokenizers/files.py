"""Files beside a vocabulary: tokenizer_config.json, special_tokens_map.json, added tokens, chat template."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Dict, List, Mapping, Optional, Sequence, Tuple, Union

from tokenizers import AddedToken

from mindformers.errors import DataError, OutputError
from mindformers.tokenizers.backend import TOKENIZER_FILE
from mindformers.tokenizers.special_tokens import added_token

CONFIG_FILE = "tokenizer_config.json"
SPECIAL_TOKENS_FILE = "special_tokens_map.json"
ADDED_TOKENS_FILE = "added_tokens.json"
CHAT_TEMPLATE_FILE = "chat_template.jinja"
VOCABULARY_FILES = (
    ("vocab.txt",),
    ("vocab.json", "merges.txt"),
    ("spiece.model",),
    ("tokenizer.model",),
    ("30k-clean.model",),
)
"""Names under which a bare vocabulary is known; some consist of two files."""


@dataclass(frozen=True)
class StoredTokenizer:
    """What a folder says about its tokenizer."""

    folder: Path
    config: Dict[str, object]
    """tokenizer_config.json, with the chat template of its own file."""
    special: Dict[str, object]
    """special_tokens_map.json."""
    added: Tuple[Tuple[int, AddedToken], ...]
    """Tokens added to the vocabulary, by id."""

    @property
    def backend_file(self) -> Optional[Path]:
        """tokenizer.json, None when there is none."""
        file = self.folder / TOKENIZER_FILE
        return file if file.exists() else None


def find_folder(name_or_path: Union[str, Path]) -> Path:
    """Return the folder of a tokenizer: a path, or the name of released weights.

    Raises DataError for a path that does not exist, CheckpointError for a name that nothing is known by.
    """
    path = Path(name_or_path).expanduser()
    if path.is_dir():
        return path
    if path.exists():
        raise DataError(f"{path}: is a file; give the folder that holds {TOKENIZER_FILE} or a vocabulary")
    if path.is_absolute() or len(path.parts) > 2 or str(name_or_path).startswith("."):
        raise DataError(f"{path}: no such folder; it must hold {TOKENIZER_FILE} or a vocabulary")
    from mindformers.weights.find import find_description  # loads the hub client, which a folder does not need

    found = find_description(str(name_or_path))
    return found if found.is_dir() else found.parent


def read_folder(folder: Path) -> StoredTokenizer:
    """Read what stands beside the vocabulary. Raises DataError."""
    config = read_json(folder / CONFIG_FILE)
    template = folder / CHAT_TEMPLATE_FILE
    if template.is_file():
        try:
            config = {**config, "chat_template": template.read_text(encoding="utf-8")}
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(f"{template}: not readable as a template in UTF-8 text ({error})") from error
    return StoredTokenizer(folder, config, read_json(folder / SPECIAL_TOKENS_FILE), _added_tokens(folder, config))


def vocabulary_paths(folder: Path, alternatives: Sequence[Sequence[str]]) -> List[Path]:
    """Return the files of the first alternative that the folder holds. Raises DataError naming what is missing."""
    for names in alternatives:
        paths = [folder / name for name in names]
        if paths[0].exists():
            missing = [path.name for path in paths if not path.exists()]
            if missing:
                raise DataError(f"{folder}: holds {names[0]} but no {missing[0]}; both are needed, keep them together")
            return paths
    accepted = " nor ".join([TOKENIZER_FILE, *(" with ".join(names) for names in alternatives)])
    raise DataError(f"{folder}: holds neither {accepted}; one of them is needed")


def write_folder(
    folder: Path, contents: Mapping[str, bytes], config: Mapping[str, object], special: Mapping[str, object]
) -> None:
    """Write the vocabulary files and what stands beside them. Raises OutputError."""
    files = {
        **contents,
        CONFIG_FILE: (json.dumps(config, indent=2, ensure_ascii=False, sort_keys=True) + "\n").encode("utf-8"),
        SPECIAL_TOKENS_FILE: (json.dumps(special, indent=2, ensure_ascii=False) + "\n").encode("utf-8"),
    }
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in files.items():
            (folder / name).write_bytes(content)
    except OSError as error:
        raise OutputError(
            f"{folder}: the tokenizer cannot be written here ({error}); give a folder that can be written"
        ) from error


def read_json(path: Path) -> Dict[str, object]:
    """Return the object of a JSON file, {} when the file does not exist. Raises DataError for anything else."""
    if not path.exists():
        return {}
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: not readable as JSON ({error})") from error
    if not isinstance(value, dict):
        raise DataError(f"{path}: holds a JSON {type(value).__name__}; it must be an object")
    return value


def _added_tokens(folder: Path, config: Mapping[str, object]) -> Tuple[Tuple[int, AddedToken], ...]:
    """Return the added tokens of tokenizer_config.json, else those of added_tokens.json."""
    try:
        decoder = config.get("added_tokens_decoder")
        if decoder:
            found = {
                int(index): added_token(item, special=bool(item.get("special"))) for index, item in decoder.items()
            }
        else:
            file = read_json(folder / ADDED_TOKENS_FILE)
            found = {int(index): added_token(token, special=False) for token, index in file.items()}
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise DataError(
            f"{folder}: the added tokens are not ids with their tokens ({type(error).__name__}: {error}); see "
            f"added_tokens_decoder in {CONFIG_FILE}, or {ADDED_TOKENS_FILE}"
        ) from error
    return tuple(sorted(found.items()))
