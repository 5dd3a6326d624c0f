"""WordPiece tokens (Devlin et al. 2019, arXiv:1810.04805) with character offsets into the text as it was given."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Dict, Mapping, Sequence

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers

from mindformers.errors import DataError
from mindformers.tokenizers.backend import LibraryBackend
from mindformers.tokenizers.layout import FIRST, SECOND
from mindformers.tokenizers.pretrained import Family, PretrainedTokenizer
from mindformers.tokenizers.special_tokens import SpecialTokens


def read_vocabulary(path: Path) -> Dict[str, int]:
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
    return vocabulary


def build(paths: Sequence[Path], special: SpecialTokens, options: Mapping[str, Any]) -> LibraryBackend:
    """Make a backend from vocab.txt. Raises DataError."""
    vocabulary = read_vocabulary(paths[0])
    special.check(vocabulary, paths[0])
    model = models.WordPiece(vocabulary, unk_token=special.token("unk_token"), max_input_chars_per_word=100)
    tokenizer = Tokenizer(model)
    if options["do_basic_tokenize"]:
        tokenizer.normalizer = normalizers.BertNormalizer(
            lowercase=options["do_lower_case"],
            handle_chinese_chars=options["tokenize_chinese_chars"],
            strip_accents=options["strip_accents"],
        )
        tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    else:
        tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.decoder = decoders.WordPiece()
    return LibraryBackend(tokenizer)


def adjust(tokenizer: Tokenizer, stated: Mapping[str, Any]) -> None:
    """Apply the options on letter case, Chinese and accents to a tokenizer.json that has BERT's normaliser."""
    current = tokenizer.normalizer
    if isinstance(current, normalizers.BertNormalizer):
        tokenizer.normalizer = normalizers.BertNormalizer(
            clean_text=current.clean_text,
            lowercase=stated.get("do_lower_case", current.lowercase),
            handle_chinese_chars=stated.get("tokenize_chinese_chars", current.handle_chinese_chars),
            strip_accents=stated.get("strip_accents", current.strip_accents),
        )


class BertTokenizer(PretrainedTokenizer):
    """Text to WordPiece ids, made from a vocab.txt; see `from_pretrained` for a folder.

    `do_lower_case` also strips accents unless `strip_accents` says otherwise. Without `do_basic_tokenize` the text
    is only cut at white space: no lower-casing, no splitting of punctuation. Raises DataError when the file is no
    vocabulary or lacks a special token.
    """

    family = Family(
        vocabulary=(("vocab.txt",),),
        build=build,
        model="WordPiece",
        adjust=adjust,
        special={
            "unk_token": "[UNK]",
            "sep_token": "[SEP]",
            "pad_token": "[PAD]",
            "cls_token": "[CLS]",
            "mask_token": "[MASK]",
        },
        single=("cls_token", FIRST, "sep_token"),
        pair=("cls_token", FIRST, "sep_token", SECOND, "sep_token"),
        token_types=True,
        options={
            "do_lower_case": True,
            "do_basic_tokenize": True,
            "tokenize_chinese_chars": True,
            "strip_accents": None,
            "model_max_length": 512,
        },
    )
