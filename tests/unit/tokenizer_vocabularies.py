"""Tiny vocabularies of every kind, made on the spot."""

import io
import json
from pathlib import Path

import tokenizers

TEXTS = [
    "the quick brown fox jumps over the lazy dog",
    "in 1999, the 2,500 dogs of the town (all of them) slept.",
    "a tokenizer turns text into pieces, and pieces into numbers",
    "some words end, some words begin; others - like this - go on",
] * 8


def write_byte_level(folder: Path, special=("<s>", "<pad>", "</s>", "<unk>", "<mask>")) -> None:
    """Write vocab.json and merges.txt."""
    made = tokenizers.ByteLevelBPETokenizer()
    made.train_from_iterator(TEXTS, vocab_size=330, special_tokens=list(special), show_progress=False)
    made.save_model(str(folder))


def write_sentencepiece(file: Path, **options) -> None:
    """Write a SentencePiece model; `options` are those of its trainer."""
    import sentencepiece

    writer = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(TEXTS), model_writer=writer, minloglevel=2, hard_vocab_limit=False, **options
    )
    file.write_bytes(writer.getvalue())


def write_bpe_model(file: Path) -> None:
    """Write a model like LLaMA's: BPE, bytes as fallback, white space kept."""
    write_sentencepiece(
        file,
        vocab_size=330,
        model_type="bpe",
        byte_fallback=True,
        normalization_rule_name="identity",
        remove_extra_whitespaces=False,
    )


def write_t5_model(file: Path) -> None:
    """Write a model like T5's: unigram, pieces 0 to 2 are padding, end and unknown."""
    write_sentencepiece(file, vocab_size=80, pad_id=0, eos_id=1, unk_id=2, bos_id=-1)


def write_albert_model(file: Path) -> None:
    """Write a model like ALBERT's: unigram with its special tokens and a piece of digit and comma."""
    write_sentencepiece(
        file,
        vocab_size=90,
        pad_id=0,
        unk_id=1,
        bos_id=-1,
        eos_id=-1,
        control_symbols=["[CLS]", "[SEP]", "[MASK]"],
        user_defined_symbols=["9,"],
    )


def write_json(file: Path, **content) -> None:
    """Write an object as JSON."""
    file.write_text(json.dumps(content), encoding="utf-8")
