"""Exact match and F1 of SQuAD v1.1 (Rajpurkar et al. 2016, arXiv:1606.05250, section 6.1), in percent.

Answers are compared after normalisation: lower case, no ASCII punctuation, no English articles, single spaces. A
question with several accepted answers gets the best of its scores; a question without a prediction gets 0.
"""

from __future__ import annotations

import re
import string
from collections import Counter
from typing import Callable, Dict, Mapping, Sequence

from mindformers.data.squad import Example
from mindformers.errors import DataError

ARTICLES = re.compile(r"\b(?:a|an|the)\b")
NO_PUNCTUATION = str.maketrans("", "", string.punctuation)


def normalized(text: str) -> str:
    """Return an answer as it is compared."""
    bare = text.lower().translate(NO_PUNCTUATION)
    return " ".join(ARTICLES.sub(" ", bare).split())


def exact_match(prediction: str, answer: str) -> float:
    """Return 1.0 when both texts are the same after normalisation, else 0.0."""
    return float(normalized(prediction) == normalized(answer))


def f1(prediction: str, answer: str) -> float:
    """Return the harmonic mean of precision and recall over the words both texts share, 0.0 without any."""
    predicted, expected = normalized(prediction).split(), normalized(answer).split()
    shared = sum((Counter(predicted) & Counter(expected)).values())
    return 2.0 * shared / (len(predicted) + len(expected)) if shared else 0.0


def best(measure: Callable[[str, str], float], prediction: str, example: Example) -> float:
    """Return the highest score of a prediction over all accepted answers."""
    return max(measure(prediction, text) for text, _ in example.answers)


def score(predictions: Mapping[str, str], examples: Sequence[Example]) -> Dict[str, float]:
    """Return exact_match and f1 (0 to 100, over all examples), and how many were `scored` of a `total`.

    `predictions` maps the id of an example to its answer text. Raises DataError without examples, or for an example
    without answers.
    """
    if not examples:
        raise DataError("no question to score; give the examples that the predictions belong to")
    matches, overlaps, scored = 0.0, 0.0, 0
    for example in examples:
        if not example.answers:
            raise DataError(f"question {example.id!r} has no answer to score against")
        if example.id not in predictions:
            continue
        scored += 1
        matches += best(exact_match, predictions[example.id], example)
        overlaps += best(f1, predictions[example.id], example)
    total = len(examples)
    return {"exact_match": 100.0 * matches / total, "f1": 100.0 * overlaps / total, "scored": scored, "total": total}
