"""Greedy and beam search write the tokens that Hugging Face's `generate` writes, with and without a cache."""

import numpy as np
import pytest

pytest.importorskip("torch", reason="needs: pip install 'mindformers[oracle]'")
pytest.importorskip("transformers", reason="needs: pip install 'mindformers[oracle]'")

from tests.parity.family_cases import CASES, generator, write_checkpoint
from tests.parity.generate_oracle import Oracle
from tests.parity.test_families import golden, load

FAMILIES = (
    "gpt2-causal-lm",
    "llama-grouped-theta",
    "bloom-causal-lm",
    "baichuan-alibi-normalized",
    "internlm-causal-lm",
    "t5-seq2seq",
)
VARIANTS = ("baichuan-causal-lm", "internlm-dynamic", "t5-gated-unscaled")
NEW = 10
FIVE = (12, 5, 3, 9, 7)
"""Tokens of the prompts."""
NINE = (*FIVE, 4, 11, 6, 8)
"""As many rows, rounded up, as three beams of five prompts or nine of one have, so that graphs are compiled once."""


@pytest.fixture(scope="module", params=(*FAMILIES, *VARIANTS))
def pair(request, tmp_path_factory):
    """Our model and its oracle on the same weights; compiled graphs are shared by the tests of a case."""
    name = request.param
    folder = write_checkpoint(tmp_path_factory.mktemp(name), CASES[name], golden(name)["shapes"])
    return load(CASES[name], folder), Oracle(CASES[name])


def prompts(lengths):
    return [generator("prompt", str(length)).integers(3, 61, length) for length in lengths]


def ours(model, rows, **options):
    """Return the new tokens of each row, up to the end token."""
    found = model.generate([row.tolist() for row in rows], max_new_tokens=NEW, pad_token_id=0, **options)
    return [cut(row, options["eos_token_id"]) for row in found]


def cut(row, eos):
    places = np.flatnonzero(row == eos)
    return row[: places[0] + 1 if len(places) else NEW].tolist()


def eos_of(oracle):
    """Return a token that ends some rows and not others: the one that the oracle writes fourth."""
    return int(oracle.write(prompts(FIVE[:1]), NEW, eos_token_id=None)[0][3])


def compare_greedy(pair, lengths, recompute):
    model, oracle = pair
    rows, eos = prompts(lengths), 2
    theirs = oracle.write(rows, NEW, eos_token_id=eos, use_cache=not recompute)
    assert ours(model, rows, eos_token_id=eos, recompute=recompute) == [cut(row, eos) for row in theirs]


@pytest.mark.parametrize("recompute", (False, True), ids=("cache", "no-cache"))
def test_greedy_tokens_of_nine_prompts_are_hugging_faces(pair, recompute):
    compare_greedy(pair, NINE, recompute)


@pytest.mark.parametrize("recompute", (False, True), ids=("cache", "no-cache"))
@pytest.mark.parametrize("pair", FAMILIES, indirect=True)
def test_greedy_tokens_of_one_prompt_are_hugging_faces(pair, recompute):
    compare_greedy(pair, FIVE[:1], recompute)


@pytest.mark.parametrize("recompute", (False, True), ids=("cache", "no-cache"))
def test_beams_of_one_prompt_are_hugging_faces(pair, recompute):
    model, oracle = pair
    rows, eos = prompts(FIVE[:1]), eos_of(oracle)
    options = {"num_beams": 9, "num_return_sequences": 9, "length_penalty": 0.6, "eos_token_id": eos}
    theirs = oracle.write(rows, NEW, use_cache=not recompute, **options)
    assert ours(model, rows, recompute=recompute, **options) == [cut(row, eos) for row in theirs]


@pytest.mark.parametrize("recompute", (False, True), ids=("cache", "no-cache"))
@pytest.mark.parametrize("pair", FAMILIES, indirect=True)
def test_beams_of_five_prompts_are_hugging_faces(pair, recompute):
    model, oracle = pair
    rows, eos = prompts(FIVE), eos_of(oracle)
    options = {"num_beams": 3, "early_stopping": True, "no_repeat_ngram_size": 2, "eos_token_id": eos}
    theirs = oracle.write(rows, NEW, use_cache=not recompute, **options)
    assert ours(model, rows, recompute=recompute, **options) == [cut(row, eos) for row in theirs]


@pytest.mark.parametrize("pair", FAMILIES[:1], indirect=True)
def test_beams_end_as_hugging_faces_do(pair):
    model, oracle = pair
    rows, eos, found = prompts(FIVE), eos_of(oracle), []
    for early_stopping in (False, True, "never"):
        options = {"num_beams": 3, "early_stopping": early_stopping, "length_penalty": 2.0, "eos_token_id": eos}
        theirs = [cut(row, eos) for row in oracle.write(rows, NEW, **options)]
        found.append(ours(model, rows, **options))
        assert found[-1] == theirs
    assert found[0] != found[1] and found[0] != found[2]


@pytest.mark.parametrize("pair", FAMILIES, indirect=True)
def test_rules_on_single_texts_are_hugging_faces(pair):
    model, oracle = pair
    rows, eos = prompts(FIVE[:1]), eos_of(oracle)
    for rules in ({"repetition_penalty": 1.4, "min_new_tokens": 6}, {"no_repeat_ngram_size": 2, "min_length": 9}):
        theirs = oracle.write(rows, NEW, eos_token_id=eos, **rules)
        assert ours(model, rows, eos_token_id=eos, **rules) == [cut(row, eos) for row in theirs]
