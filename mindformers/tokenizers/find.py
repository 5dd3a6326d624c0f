"""Which tokenizer belongs to a run: that of its weights; without weights, the one it names or that of its data."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Optional, Sequence

from mindformers.catalog import REGISTRY
from mindformers.config.component import Component
from mindformers.config.tokenizer_options import PretrainedTokenizer
from mindformers.errors import DataError
from mindformers.log import logger
from mindformers.registry import MindFormerModuleType as Type
from mindformers.tokenizers.files import TOKENIZER_FILE, VOCABULARY_FILES

FIRST_FILES = tuple(names[0] for names in VOCABULARY_FILES)
OF_THE_TASK = ("src_max_length", "tgt_max_length", "prefix", "stage", "extra")
"""Options that stand in the tokenizer's section and are read by the translation task."""


def find_tokenizer(section: Optional[Component], weights: Optional[Path], data: Sequence[Path] = ()) -> Any:
    """Return the tokenizer saved beside `weights`, else the one of the configuration, else None.

    A run from scratch whose configuration names no files takes those beside its `data`, which are files or folders.
    Raises DataError when the files of the tokenizer are nowhere.
    """
    beside = _holder(weights)
    if section is None:
        return None
    cls = REGISTRY.resolve(Type.TOKENIZER, section.type)
    options = section.arguments()
    named = options.pop("checkpoint_name_or_path", None)
    vocab_file = options.pop("vocab_file", None)
    if isinstance(section.options, PretrainedTokenizer):
        options = {name: item for name, item in options.items() if item is not None and name not in OF_THE_TASK}
    if beside is not None:
        held = next((beside / name for name in FIRST_FILES if (beside / name).is_file()), None)
        if (
            vocab_file
            and Path(vocab_file).is_file()
            and held is not None
            and Path(vocab_file).read_bytes() != held.read_bytes()
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
    for place in data if weights is None and hasattr(cls, "find_vocabulary") else ():  # a class of one's own may not
        found = cls.find_vocabulary(place)
        if found is not None:
            logger.info("tokenizer: made from %s, beside the data", found)
            return cls(found, **options)
    accepted = ", ".join([TOKENIZER_FILE, *FIRST_FILES])
    known = {place: "" if place.exists() else ": no such file or folder" for place in data}
    places = ", ".join(f"{place}{problem}" for place, problem in known.items())
    beside_data = f" and none beside the data ({places})" if places and weights is None else ""
    raise DataError(
        f"no tokenizer files: none of {accepted} beside the weights ({weights or 'none given'}){beside_data}, and "
        "the configuration names no vocab_file; set train_dataset.tokenizer.vocab_file to a vocabulary"
    )


def _holder(weights: Optional[Path]) -> Optional[Path]:
    if weights is None:
        return None
    folder = weights if weights.is_dir() else weights.parent
    return folder if any((folder / name).is_file() for name in (TOKENIZER_FILE, *FIRST_FILES)) else None
