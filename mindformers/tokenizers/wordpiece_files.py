"""Files of a WordPiece tokenizer: vocab.txt, tokenizer.json, tokenizer_config.json, special_tokens_map.json."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Dict, Mapping, Optional

from tokenizers import Tokenizer, models, normalizers

from mindformers.errors import DataError, OutputError

VOCAB_FILE = "vocab.txt"
TOKENIZER_FILE = "tokenizer.json"
CONFIG_FILE = "tokenizer_config.json"
SPECIAL_TOKENS_FILE = "special_tokens_map.json"
OPTIONS = ("do_lower_case", "do_basic_tokenize", "tokenize_chinese_chars", "strip_accents", "model_max_length")


@dataclass(frozen=True)
class SpecialTokens:
    """The five tokens that models with WordPiece rely on."""

    unk_token: str = "[UNK]"
    sep_token: str = "[SEP]"
    pad_token: str = "[PAD]"
    cls_token: str = "[CLS]"
    mask_token: str = "[MASK]"

    def as_dict(self) -> Dict[str, str]:
        """Return names and tokens."""
        return asdict(self)


@dataclass(frozen=True)
class StoredTokenizer:
    """What a folder holds: a ready backend, or a vocab.txt to make one from."""

    vocab_file: Path
    backend: Optional[Tokenizer]
    special: SpecialTokens
    options: Dict[str, object]


def read_vocabulary(path: Path, special: SpecialTokens) -> Dict[str, int]:
    """Read vocab.txt: one token a line, the line number is its id. Raises DataError naming file and line."""
    try:
        with path.open(encoding="utf-8") as stream:
            tokens = [line.rstrip("\n") for line in stream]
    except FileNotFoundError:
        raise DataError(f"{path}: no such vocabulary file; give a WordPiece vocab.txt, one token a line") from None
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: not readable as a vocabulary in UTF-8 text, one token a line ({error})") from error
    vocabulary: Dict[str, int] = {}
    for number, token in enumerate(tokens):
        if token in vocabulary:
            raise DataError(
                f"{path}:{number + 1}: token {token!r} stands already in line {vocabulary[token] + 1}; "
                "every line must be a different token, since its number is the id"
            )
        vocabulary[token] = number
    check_special(path, vocabulary, special)
    return vocabulary


def check_special(path: Path, vocabulary: Mapping[str, int], special: SpecialTokens) -> None:
    """Raise DataError when a special token has no id."""
    missing = [f"{name} {token!r}" for name, token in special.as_dict().items() if token not in vocabulary]
    if missing:
        raise DataError(
            f"{path}: the vocabulary of {len(vocabulary)} tokens has no {', '.join(missing)}; add them "
            "to the file, or name the tokens it uses instead (cls_token=..., sep_token=... and so on)"
        )


def read_folder(folder: Path) -> StoredTokenizer:
    """Find out what tokenizer a folder holds. Raises DataError."""
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder; it must hold {TOKENIZER_FILE} or {VOCAB_FILE}")
    config = read_json(folder / CONFIG_FILE)
    named = {**read_json(folder / SPECIAL_TOKENS_FILE), **config}
    special = SpecialTokens(
        **{
            field.name: token_text(named[field.name])
            for field in fields(SpecialTokens)
            if named.get(field.name) is not None
        }
    )
    options = {name: config[name] for name in OPTIONS if name in config}
    backend_file = folder / TOKENIZER_FILE
    if not backend_file.exists():
        if not (folder / VOCAB_FILE).exists():
            raise DataError(f"{folder}: holds neither {TOKENIZER_FILE} nor {VOCAB_FILE}; one of them is needed")
        return StoredTokenizer(folder / VOCAB_FILE, None, special, options)
    return StoredTokenizer(folder / VOCAB_FILE, read_backend(backend_file, special, options), special, options)


def read_backend(path: Path, special: SpecialTokens, options: Mapping[str, object]) -> Tokenizer:
    """Load tokenizer.json and apply the options that tokenizer_config.json states. Raises DataError."""
    try:
        backend = Tokenizer.from_str(path.read_text(encoding="utf-8"))
    except Exception as error:  # the library raises plain Exception for a file it cannot parse
        raise DataError(f"{path}: not a tokenizer.json that the tokenizers library reads ({error})") from error
    if not isinstance(backend.model, models.WordPiece):
        raise DataError(f"{path}: holds a {type(backend.model).__name__} model; this tokenizer accepts WordPiece only")
    check_special(path, backend.get_vocab(with_added_tokens=True), special)
    changes = {
        ours: options[name]
        for name, ours in (
            ("do_lower_case", "lowercase"),
            ("tokenize_chinese_chars", "handle_chinese_chars"),
            ("strip_accents", "strip_accents"),
        )
        if name in options
    }
    if changes and isinstance(backend.normalizer, normalizers.BertNormalizer):
        current = backend.normalizer
        state = {
            name: getattr(current, name)
            for name in ("clean_text", "lowercase", "handle_chinese_chars", "strip_accents")
        }
        backend.normalizer = normalizers.BertNormalizer(**{**state, **changes})
    return backend


def write_folder(folder: Path, backend: Tokenizer, special: SpecialTokens, options: Mapping[str, object]) -> None:
    """Write all four files. Raises OutputError."""
    vocabulary = sorted(backend.get_vocab(with_added_tokens=True).items(), key=lambda item: item[1])
    config = {"tokenizer_class": "BertTokenizer", **options, **special.as_dict()}
    contents = {
        TOKENIZER_FILE: backend.to_str(pretty=True),
        VOCAB_FILE: "".join(f"{token}\n" for token, _ in vocabulary),
        CONFIG_FILE: json.dumps(config, indent=2, ensure_ascii=False, sort_keys=True) + "\n",
        SPECIAL_TOKENS_FILE: json.dumps(special.as_dict(), indent=2, ensure_ascii=False) + "\n",
    }
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in contents.items():
            with (folder / name).open("w", encoding="utf-8", newline="\n") as stream:
                stream.write(text)
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


def token_text(value: object) -> str:
    """Return a special token that is written as text or as an object with `content`."""
    if isinstance(value, dict) and "content" in value:
        return str(value["content"])
    return str(value)
