"""The tokenizers that are published as SentencePiece models: BPE with bytes as fallback, and unigram."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Dict, Mapping, Sequence

from tokenizers import AddedToken, decoders

from mindformers.tokenizers.aligned_text import AlignedText, without_accents
from mindformers.tokenizers.layout import FIRST, SECOND
from mindformers.tokenizers.pretrained import Family, PretrainedTokenizer
from mindformers.tokenizers.sentencepiece_backend import SPACE, SentencePieceBackend, SentencePieceRules
from mindformers.tokenizers.special_tokens import SpecialTokens

SENTINEL = "<extra_id_{}>"
"""T5's marks of the gaps in a text; the first has the highest id."""


def build_bpe(paths: Sequence[Path], special: SpecialTokens, options: Mapping[str, Any]) -> SentencePieceBackend:
    """Make a LLaMA-like backend; `legacy` gives every stretch between special tokens a leading space."""
    prefix = "none" if not options["add_prefix_space"] else "every" if options["legacy"] else "first"
    steps = [decoders.Replace(SPACE, " "), decoders.ByteFallback(), decoders.Fuse()]
    if prefix != "none":
        steps.append(decoders.Strip(" ", 1, 0))
    return SentencePieceBackend(paths[0], SentencePieceRules(prefix=prefix), decoders.Sequence(steps))


def build_albert(paths: Sequence[Path], special: SpecialTokens, options: Mapping[str, Any]) -> SentencePieceBackend:
    """Make a backend that cleans text up as ALBERT's authors do (`preprocess_text` and `encode_pieces`)."""

    def clean(text: AlignedText) -> AlignedText:
        if options["remove_space"]:
            text = text.stripped().replaced(r"\s+", " ")
        text = text.replaced("``|''", '"')
        if not options["keep_accents"]:
            text = text.mapped(without_accents)
        return text.lowered() if options["do_lower_case"] else text

    rules = SentencePieceRules(clean, split_digit_comma=True, trim_offsets=True)
    return SentencePieceBackend(paths[0], rules, decoders.Metaspace(SPACE, prepend_scheme="always"))


def build_t5(paths: Sequence[Path], special: SpecialTokens, options: Mapping[str, Any]) -> SentencePieceBackend:
    """Make a backend with `extra_ids` sentinels behind the vocabulary, the first of them last."""
    rules = SentencePieceRules(trim_offsets=True)
    backend = SentencePieceBackend(paths[0], rules, decoders.Metaspace(SPACE, prepend_scheme="always"))
    names = [SENTINEL.format(index) for index in reversed(range(options["extra_ids"]))]
    backend.add([AddedToken(name, special=True, normalized=False) for name in names])
    return backend


BPE_FILES = (("tokenizer.model",), ("spiece.model",))
BPE_SPECIAL = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
BPE_OPTIONS: Dict[str, Any] = {"add_bos_token": True, "add_eos_token": False, "add_prefix_space": True, "legacy": False}


class LlamaTokenizer(PretrainedTokenizer):
    """LLaMA: <s> before a text, padding on the left; it has no pad token unless the files or `pad_token` name one."""

    family = Family(
        vocabulary=BPE_FILES,
        build=build_bpe,
        model="BPE",
        special=BPE_SPECIAL,
        single=("bos_token", FIRST, "eos_token"),
        pair=("bos_token", FIRST, "eos_token", "bos_token", SECOND, "eos_token"),
        options={**BPE_OPTIONS, "padding_side": "left"},
    )


class BaichuanTokenizer(PretrainedTokenizer):
    """Baichuan: as LLaMA, every stretch of text with a leading space; its chat models switch add_bos_token off."""

    family = Family(
        vocabulary=BPE_FILES,
        build=build_bpe,
        model="BPE",
        special={**BPE_SPECIAL, "pad_token": "<unk>"},
        single=("bos_token", FIRST, "eos_token"),
        pair=("bos_token", FIRST, "eos_token", "bos_token", SECOND, "eos_token"),
        options={**BPE_OPTIONS, "legacy": True},
    )


class InternLMTokenizer(PretrainedTokenizer):
    """InternLM: <s> before a text or a pair, every stretch of text with a leading space; pads with </s>."""

    family = Family(
        vocabulary=BPE_FILES,
        build=build_bpe,
        model="BPE",
        special={**BPE_SPECIAL, "pad_token": "</s>"},
        single=("bos_token", FIRST, "eos_token"),
        pair=("bos_token", FIRST, SECOND, "eos_token"),
        options={**BPE_OPTIONS, "legacy": True},
    )


class AlbertTokenizer(PretrainedTokenizer):
    """ALBERT: [CLS] text [SEP] or [CLS] text [SEP] text [SEP]; `keep_accents` and `remove_space` as its authors."""

    family = Family(
        vocabulary=(("spiece.model",), ("30k-clean.model",), ("tokenizer.model",)),
        build=build_albert,
        model="Unigram",
        special={
            "bos_token": "[CLS]",
            "eos_token": "[SEP]",
            "unk_token": "<unk>",
            "sep_token": "[SEP]",
            "pad_token": "<pad>",
            "cls_token": "[CLS]",
            "mask_token": "[MASK]",
        },
        single=("cls_token", FIRST, "sep_token"),
        pair=("cls_token", FIRST, "sep_token", SECOND, "sep_token"),
        token_types=True,
        lstrip=("mask_token",),
        options={"do_lower_case": True, "remove_space": True, "keep_accents": False, "model_max_length": 512},
    )


class T5Tokenizer(PretrainedTokenizer):
    """T5: </s> behind each text; `extra_ids` sentinels (`<extra_id_0>` ...) behind the vocabulary."""

    family = Family(
        vocabulary=(("spiece.model",), ("tokenizer.model",)),
        build=build_t5,
        model="Unigram",
        special={"eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<pad>"},
        single=(FIRST, "eos_token"),
        pair=(FIRST, "eos_token", SECOND, "eos_token"),
        options={"extra_ids": 100, "model_max_length": 512},
    )
