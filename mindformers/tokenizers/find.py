"""Which tokenizer belongs to a run: weights and tokenizer go together, so the files beside the weights come first."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Optional

from mindformers.catalog import REGISTRY
from mindformers.config.component import Component
from mindformers.errors import DataError
from mindformers.log import logger
from mindformers.registry import MindFormerModuleType as Type

FILES = ("tokenizer.json", "vocab.txt")


def find_tokenizer(section: Optional[Component], weights: Optional[Path]) -> Any:
    """Return the tokenizer saved beside `weights`, else the one of the configuration, else None.

    Raises DataError when the configuration names a tokenizer whose files are nowhere.
    """
    beside = _holder(weights)
    if section is None:
        return None
    cls = REGISTRY.resolve(Type.TOKENIZER, section.type)
    options = section.arguments()
    named = options.pop("checkpoint_name_or_path", None)
    vocab_file = options.pop("vocab_file", None)
    if beside is not None:
        if (
            vocab_file
            and Path(vocab_file).is_file()
            and (beside / "vocab.txt").is_file()
            and Path(vocab_file).read_bytes() != (beside / "vocab.txt").read_bytes()
        ):
            logger.warning(
                "the tokenizer beside the weights (%s) is used; vocab_file %s differs from it", beside, vocab_file
            )
        return cls.from_pretrained(beside)
    if vocab_file:
        if not Path(vocab_file).is_file():
            raise DataError(f"tokenizer.vocab_file: no such file: {vocab_file}")
        return cls(vocab_file, **options)
    if named and _holder(Path(named)) is not None:
        return cls.from_pretrained(named)
    raise DataError(
        f"no tokenizer files: neither {' nor '.join(FILES)} beside the weights ({weights or 'none given'}), and "
        "the configuration names no vocab_file; set train_dataset.tokenizer.vocab_file to a vocab.txt"
    )


def _holder(weights: Optional[Path]) -> Optional[Path]:
    if weights is None:
        return None
    folder = weights if weights.is_dir() else weights.parent
    return folder if any((folder / name).is_file() for name in FILES) else None
