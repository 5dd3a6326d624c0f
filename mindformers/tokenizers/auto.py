"""Which tokenizer class a folder asks for."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Optional, Type, Union

from mindformers.catalog import REGISTRY
from mindformers.errors import DataError, UnknownNameError
from mindformers.registry import MindFormerModuleType as ModuleType
from mindformers.tokenizers import files
from mindformers.tokenizers.backend import LibraryBackend
from mindformers.tokenizers.pretrained import PretrainedTokenizer

ANY_KIND = ("PreTrainedTokenizer", "PreTrainedTokenizerFast", "TokenizersBackend", "PythonBackend")
"""Class names of Hugging Face that say nothing about the family; tokenizer.json alone describes the tokenizer."""
BY_MODEL_TYPE = {
    "bert": "BertTokenizer",
    "roberta": "RobertaTokenizer",
    "albert": "AlbertTokenizer",
    "gpt2": "GPT2Tokenizer",
    "llama": "LlamaTokenizer",
    "baichuan": "BaichuanTokenizer",
    "bloom": "BloomTokenizer",
    "internlm": "InternLMTokenizer",
    "t5": "T5Tokenizer",
    "mt5": "T5Tokenizer",
}
"""`model_type` of a config.json -> class."""


class AutoTokenizer:
    """The tokenizer of a folder, whatever its class."""

    @staticmethod
    def from_pretrained(name_or_path: Union[str, Path], **options: Any) -> PretrainedTokenizer:
        """Return the tokenizer that tokenizer_config.json names, else config.json's model, else the files found.

        `options` are those of the class. Raises UnknownNameError for a class that is not known, DataError when the
        folder holds no tokenizer.
        """
        folder = files.find_folder(name_or_path)
        return choose(folder).from_pretrained(folder, **options)


def choose(folder: Path) -> Type[PretrainedTokenizer]:
    """Return the class for a folder."""
    named = files.read_json(folder / files.CONFIG_FILE).get("tokenizer_class")
    if named is not None and named not in ANY_KIND:
        spelling = str(named)
        known = REGISTRY.spellings(ModuleType.TOKENIZER)
        fast = spelling.endswith("Fast") and spelling not in known
        bare = spelling[: -len("Fast")] if fast else spelling
        if bare not in known:
            raise UnknownNameError(
                "tokenizer class", bare, known, f"It stands in {folder / files.CONFIG_FILE} as tokenizer_class."
            )
        return REGISTRY.resolve(ModuleType.TOKENIZER, bare)
    stored = (folder / files.TOKENIZER_FILE).exists()
    if named is not None and stored:
        return PretrainedTokenizer
    model_type = files.read_json(folder / "config.json").get("model_type")
    name = BY_MODEL_TYPE.get(str(model_type)) or _by_files(folder)
    if name is not None:
        return REGISTRY.resolve(ModuleType.TOKENIZER, name)
    if stored:
        return PretrainedTokenizer
    accepted = ", ".join(" with ".join(names) for names in files.VOCABULARY_FILES)
    raise DataError(f"{folder}: holds no tokenizer; accepted are {files.TOKENIZER_FILE}, {accepted}")


def _by_files(folder: Path) -> Optional[str]:
    """Return the class that bare vocabulary files belong to, told by the special tokens they hold."""
    if (folder / files.TOKENIZER_FILE).exists():
        backend = LibraryBackend.read(folder / files.TOKENIZER_FILE, None)
        known = type(backend.tokenizer.model).__name__ == "WordPiece" and backend.token_to_id("[CLS]") is not None
        return "BertTokenizer" if known else None
    if (folder / "vocab.txt").exists():
        return "BertTokenizer"
    if (folder / "vocab.json").exists():
        vocabulary = files.read_json(folder / "vocab.json")
        return "GPT2Tokenizer" if "<|endoftext|>" in vocabulary else "RobertaTokenizer"
    if (folder / "30k-clean.model").exists():
        return "AlbertTokenizer"
    if (folder / "spiece.model").exists():
        # ALBERT's special tokens stand in the model as text; T5 has none of them.
        return "AlbertTokenizer" if b"[CLS]" in (folder / "spiece.model").read_bytes() else "T5Tokenizer"
    return "LlamaTokenizer" if (folder / "tokenizer.model").exists() else None
