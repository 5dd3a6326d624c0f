"""Byte-level BPE (Radford et al. 2019, GPT-2): every byte has a piece, so that no text is unknown."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, List, Mapping, Sequence, Tuple

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers

from mindformers.errors import DataError
from mindformers.tokenizers.backend import LibraryBackend
from mindformers.tokenizers.layout import FIRST, SECOND
from mindformers.tokenizers.pretrained import UNLIMITED, Family, PretrainedTokenizer
from mindformers.tokenizers.special_tokens import SpecialTokens

VOCABULARY = (("vocab.json", "merges.txt"),)
BLOOM_WORDS = r" ?[^(\s|[.,!?…。，、।۔،])]+"
"""How BLOOM's text is cut before the merges (Le Scao et al. 2022, arXiv:2211.05100)."""


def read_merges(path: Path) -> List[Tuple[str, str]]:
    """Read merges.txt: two pieces a line, the most important merge first. Raises DataError naming file and line."""
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except FileNotFoundError:
        raise DataError(f"{path}: no such file; byte-level BPE needs the merges.txt of its vocab.json") from None
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: not readable as merges in UTF-8 text ({error})") from error
    merges: List[Tuple[str, str]] = []
    for number, line in enumerate(lines, start=1):
        if not line or number == 1 and line.startswith("#version"):
            continue
        parts = line.split(" ")
        if len(parts) != 2:
            raise DataError(f"{path}:{number}: {line!r} must hold two pieces with one space between them")
        merges.append((parts[0], parts[1]))
    return merges


def read_bpe(paths: Sequence[Path]) -> models.BPE:
    """Return the model of vocab.json and merges.txt. Raises DataError."""
    vocabulary_file, merges_file = paths
    try:
        vocabulary = json.loads(vocabulary_file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DataError(
            f"{vocabulary_file}: no such vocabulary file; give a vocab.json beside its merges.txt"
        ) from None
    except (OSError, ValueError) as error:
        raise DataError(f"{vocabulary_file}: not readable as JSON ({error})") from error
    if not isinstance(vocabulary, dict) or not all(isinstance(item, int) for item in vocabulary.values()):
        raise DataError(f"{vocabulary_file}: must be a JSON object of pieces and their ids")
    merges = read_merges(merges_file)
    try:
        return models.BPE(vocab=vocabulary, merges=merges, fuse_unk=False)
    except Exception as error:  # the library raises plain Exception for merges whose pieces have no id
        raise DataError(f"{merges_file}: does not belong to {vocabulary_file} ({error})") from error


def build(paths: Sequence[Path], special: SpecialTokens, options: Mapping[str, Any]) -> LibraryBackend:
    """Make a backend that cuts text as GPT-2 does. Raises DataError."""
    tokenizer = Tokenizer(read_bpe(paths))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=options["add_prefix_space"])
    tokenizer.decoder = decoders.ByteLevel()
    return LibraryBackend(tokenizer)


def build_bloom(paths: Sequence[Path], special: SpecialTokens, options: Mapping[str, Any]) -> LibraryBackend:
    """Make a backend that cuts text as BLOOM does. Raises DataError."""
    tokenizer = Tokenizer(read_bpe(paths))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(BLOOM_WORDS), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=options["add_prefix_space"], use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    return LibraryBackend(tokenizer)


def adjust(tokenizer: Tokenizer, stated: Mapping[str, Any]) -> None:
    """Apply `add_prefix_space` to a tokenizer.json."""
    if "add_prefix_space" in stated and isinstance(tokenizer.pre_tokenizer, pre_tokenizers.ByteLevel):
        current = tokenizer.pre_tokenizer
        current.add_prefix_space = stated["add_prefix_space"]
        tokenizer.pre_tokenizer = current


class GPT2Tokenizer(PretrainedTokenizer):
    """GPT-2: vocab.json and merges.txt; no special tokens around a text unless add_bos_token or add_eos_token.

    It has no pad token: `pad_token="<|endoftext|>"` is usual.
    """

    family = Family(
        vocabulary=VOCABULARY,
        build=build,
        model="BPE",
        adjust=adjust,
        special=dict.fromkeys(("bos_token", "eos_token", "unk_token"), "<|endoftext|>"),
        single=("bos_token", FIRST, "eos_token"),
        pair=("bos_token", FIRST, "eos_token", "bos_token", SECOND, "eos_token"),
        options={
            "add_prefix_space": False,
            "add_bos_token": False,
            "add_eos_token": False,
            "model_max_length": 1024,
        },
    )


class RobertaTokenizer(PretrainedTokenizer):
    """RoBERTa: <s> text </s>, or <s> text </s></s> text </s>; made from vocab.json and merges.txt."""

    family = Family(
        vocabulary=VOCABULARY,
        build=build,
        model="BPE",
        adjust=adjust,
        special={
            "bos_token": "<s>",
            "eos_token": "</s>",
            "unk_token": "<unk>",
            "sep_token": "</s>",
            "pad_token": "<pad>",
            "cls_token": "<s>",
            "mask_token": "<mask>",
        },
        single=("cls_token", FIRST, "sep_token"),
        pair=("cls_token", FIRST, "sep_token", "sep_token", SECOND, "sep_token"),
        trim_offsets=True,
        lstrip=("mask_token",),
        options={"add_prefix_space": False, "model_max_length": 512},
    )


class BloomTokenizer(PretrainedTokenizer):
    """BLOOM: no special tokens around a text, padding on the left; published as tokenizer.json."""

    family = Family(
        vocabulary=VOCABULARY,
        build=build_bloom,
        model="BPE",
        special={"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<pad>"},
        options={"add_prefix_space": False, "padding_side": "left", "model_max_length": UNLIMITED},
    )
