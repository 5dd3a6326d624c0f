"""Rules for the next token, and draws whose frequencies are the exact probabilities."""

import numpy as np
import pytest

from mindformers.errors import UsageError
from mindformers.generation import logits as rules
from mindformers.generation.settings import GenerationConfig

DRAWS = 20000
LOGITS = np.array([2.0, 1.5, 1.5, 0.5, 0.0, -0.5, -1.0, -3.0], np.float32)
CRITICAL = {1: 10.83, 2: 13.82, 3: 16.27, 4: 18.47, 5: 20.52, 6: 22.46, 7: 24.32}
"""Chi-square with so many degrees of freedom is above this once in a thousand seeds; the seed is fixed."""


def softmax(values):
    return np.exp(values) / np.exp(values).sum()


def exact(kept, temperature=1.0):
    """Return the probabilities by definition: the softmax of the kept tokens alone."""
    found = np.zeros(len(LOGITS))
    found[kept] = softmax(LOGITS[kept].astype(np.float64) / temperature)
    return found


def chi_square(probabilities, tokens):
    counts = np.bincount(tokens, minlength=len(probabilities))
    assert counts[probabilities == 0].sum() == 0
    real = probabilities > 0
    expected = probabilities[real] * len(tokens)
    return ((counts[real] - expected) ** 2 / expected).sum(), real.sum() - 1


@pytest.mark.parametrize(
    ("options", "probabilities"),
    [
        ({"top_k": 0}, exact(range(8))),
        ({"top_k": 0, "temperature": 0.5}, exact(range(8), 0.5)),
        ({"top_k": 4}, exact(range(4))),
        ({"top_k": 2}, exact(range(3))),  # the second and the third are equally likely
        ({"top_k": 0, "top_p": 0.85}, exact(range(4))),
        ({"top_k": 3, "top_p": 0.7, "temperature": 2.0}, exact(range(3), 2.0)),
    ],
    ids=lambda item: str(item) if isinstance(item, dict) else "",
)
def test_drawn_tokens_have_the_exact_probabilities(options, probabilities):
    settings = GenerationConfig(do_sample=True, **options)
    warped, random = rules.warped(LOGITS, settings), np.random.default_rng(3)
    statistic, freedom = chi_square(probabilities, [rules.draw(warped, random) for _ in range(DRAWS)])
    assert statistic < CRITICAL[freedom]


def test_drawing_without_putting_back_has_the_exact_probabilities_of_pairs():
    random, chances = np.random.default_rng(5), softmax(LOGITS[:3].astype(np.float64))
    pairs = [(0, 1), (0, 2), (1, 0), (1, 2), (2, 0), (2, 1)]
    expected = np.array([chances[a] * chances[b] / (1 - chances[a]) for a, b in pairs])
    drawn = [pairs.index(tuple(rules.draw_several(LOGITS[:3], 2, random))) for _ in range(DRAWS)]
    statistic, freedom = chi_square(expected, drawn)
    assert statistic < CRITICAL[freedom]


def test_the_nucleus_is_the_fewest_tokens_that_reach_the_share():
    logits = np.log(np.array([0.5, 0.3, 0.15, 0.05]))
    assert np.isfinite(rules.nucleus(logits, 0.79)).tolist() == [True, True, False, False]
    assert np.isfinite(rules.nucleus(logits, 0.81)).tolist() == [True, True, True, False]
    assert np.isfinite(rules.nucleus(logits, 0.01)).tolist() == [True, False, False, False]
    assert np.isfinite(rules.nucleus(logits, 0.01, least=2)).tolist() == [True, True, False, False]


def test_tokens_of_the_text_become_less_likely_whatever_their_sign():
    assert rules.penalised(np.array([2.0, -2.0, 1.0]), [0, 1, 1], 2.0).tolist() == [1.0, -4.0, 1.0]


def test_a_sequence_of_tokens_comes_only_once():
    logits = np.zeros(5)
    assert np.isfinite(rules.without_repeats(logits, [1, 2, 3, 1, 2], 3)).tolist() == [True, True, True, False, True]
    assert np.isfinite(rules.without_repeats(logits, [4, 4], 1)).tolist() == [True, True, True, True, False]
    assert np.isfinite(rules.without_repeats(logits, [1], 3)).all()


def test_no_end_token_comes_before_the_least_length():
    settings = GenerationConfig(eos_token_id=[1, 2], min_new_tokens=2, min_length=4)
    assert np.isinf(rules.allowed(np.zeros(4), settings, [0], 1, 5)).tolist() == [False, True, True, False]
    assert np.isinf(rules.allowed(np.zeros(4), settings, [0], 2, 1)).tolist() == [False, True, True, False]
    assert np.isfinite(rules.allowed(np.zeros(4), settings, [0], 2, 2)).all()


def test_rules_leave_the_given_logits_alone():
    logits = np.zeros(4)
    rules.allowed(logits, GenerationConfig(eos_token_id=1, min_new_tokens=2, repetition_penalty=2.0), [2], 0, 0)
    assert (logits == 0).all()


@pytest.mark.parametrize("wrong", (np.nan, np.inf))
def test_logits_that_are_not_finite_are_refused_and_their_row_named(wrong):
    with pytest.raises(UsageError, match="row 1 are not finite"):
        rules.check_finite(np.array([[0.0, 1.0], [wrong, 1.0]], np.float32))


def test_the_largest_values_come_in_order_and_equal_ones_from_the_left():
    assert rules.largest(np.array([1.0, 3.0, 2.0, 3.0]), 3).tolist() == [1, 3, 2]
    assert rules.largest(np.array([1.0, 3.0]), 5).tolist() == [1, 0]
