"""From logits to the next token, in NumPy: what makes tokens less likely, which are left, and which one is taken.

Logits are float32 or float64 [V] of one row; a token that cannot come has -inf. Rules and their order are those of
Hugging Face's processors and warpers.
"""

from __future__ import annotations

from typing import Sequence

import numpy as np

from mindformers.errors import UsageError
from mindformers.generation.settings import GenerationConfig

NEVER = -np.inf


def check_finite(logits_BV: np.ndarray) -> None:
    """Raise UsageError when a row of logits holds NaN or +inf."""
    wrong_B = ~np.isfinite(logits_BV.sum(-1))  # a sum is ten times faster to look at than all numbers
    for row in np.flatnonzero(wrong_B):
        if np.isnan(logits_BV[row]).any() or (logits_BV[row] == np.inf).any():
            raise UsageError(
                f"the model's logits for row {row} are not finite: its weights are damaged, or they overflow in this "
                "type; check the weights, or load them with dtype='float32'"
            )


def penalised(logits: np.ndarray, tokens: Sequence[int], penalty: float) -> np.ndarray:
    """Return logits with those of `tokens` divided by `penalty`, or multiplied where they are below 0."""
    if penalty == 1.0 or not len(tokens):
        return logits
    logits = logits.copy()
    seen = np.unique(np.asarray(tokens))
    values = logits[seen]
    logits[seen] = np.where(values < 0, values * penalty, values / penalty)
    return logits


def without_repeats(logits: np.ndarray, tokens: Sequence[int], size: int) -> np.ndarray:
    """Return logits without the tokens that would repeat a sequence of `size` tokens of the text."""
    if size == 0 or len(tokens) + 1 < size:
        return logits
    last = list(tokens[len(tokens) - size + 1 :])
    banned = [
        tokens[start + size - 1]
        for start in range(len(tokens) - size + 1)
        if list(tokens[start : start + size - 1]) == last
    ]
    return without(logits, banned)


def without(logits: np.ndarray, tokens: Sequence[int]) -> np.ndarray:
    """Return logits in which `tokens` cannot come."""
    if not len(tokens):
        return logits
    logits = logits.copy()
    logits[list(tokens)] = NEVER
    return logits


def best_k(logits: np.ndarray, top_k: int, least: int = 1) -> np.ndarray:
    """Return logits of the `top_k` likeliest tokens and those as likely as the last of them; 0 keeps all."""
    if top_k == 0 or max(top_k, least) >= len(logits):
        return logits
    border = np.partition(logits, -max(top_k, least))[-max(top_k, least)]
    return np.where(logits < border, NEVER, logits)


def nucleus(logits: np.ndarray, top_p: float, least: int = 1) -> np.ndarray:
    """Return logits of the fewest likeliest tokens whose probabilities add up to `top_p`, at least `least` of them."""
    if top_p == 1.0:
        return logits
    order = np.argsort(logits, kind="stable")
    rare = np.cumsum(probabilities(logits[order])) <= 1.0 - top_p
    rare[-least:] = False
    return without(logits, order[rare])


def probabilities(logits: np.ndarray) -> np.ndarray:
    """Return the softmax, float64 [V]."""
    exponentials = np.exp(logits.astype(np.float64) - logits.max())
    return exponentials / exponentials.sum()


def log_probabilities(logits: np.ndarray) -> np.ndarray:
    """Return the logarithm of the softmax over the last dimension, float64."""
    shifted = logits.astype(np.float64) - logits.max(-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))


def allowed(
    logits: np.ndarray, settings: GenerationConfig, text: Sequence[int], num_new: int, num_before: int
) -> np.ndarray:
    """Return logits after the rules that a text must keep.

    `text` is all tokens so far, `num_new` how many of them were written, `num_before` how many more count for
    `min_length`.
    """
    logits = penalised(logits, text, settings.repetition_penalty)
    logits = without_repeats(logits, text, settings.no_repeat_ngram_size)
    if num_new < settings.min_new_tokens or num_before + num_new < settings.min_length:
        logits = without(logits, settings.eos)
    return logits


def warped(logits: np.ndarray, settings: GenerationConfig) -> np.ndarray:
    """Return logits whose softmax is what a sampling call draws from."""
    least = len(settings.eos) + 1 if settings.num_beams > 1 else 1
    return nucleus(best_k(logits / settings.temperature, settings.top_k, least), settings.top_p, least)


def draw(logits: np.ndarray, random: np.random.Generator) -> int:
    """Return a token drawn with the softmax of logits; one number of `random` is used."""
    sums = np.cumsum(probabilities(logits))
    return int(np.searchsorted(sums, random.random() * sums[-1], side="right"))


def draw_several(logits: np.ndarray, count: int, random: np.random.Generator) -> np.ndarray:
    """Return `count` tokens drawn one after the other without putting back (Gumbel-top-k, arXiv:1903.06059)."""
    return largest(logits + random.gumbel(size=len(logits)), count)


def largest(values: np.ndarray, count: int) -> np.ndarray:
    """Return the places of the `count` largest values, largest first, the first of equal ones first."""
    if count >= len(values):
        return np.argsort(-values, kind="stable")
    border = np.partition(values, -count)[-count]
    places = np.flatnonzero(values >= border)
    return places[np.argsort(-values[places], kind="stable")][:count]
