"""Exact match and F1 where some questions have no answer (SQuAD v2.0; Rajpurkar et al. 2018, arXiv:1806.03822).

The right prediction for such a question is "". Scores are in percent, under the names of the official script.
"""

from __future__ import annotations

from typing import Callable, Dict, List, Mapping, Sequence, Tuple

import numpy as np

from mindformers.data.squad import Example
from mindformers.errors import DataError
from mindformers.evaluate.spans import Answer
from mindformers.evaluate.squad import exact_match, f1, normalized

MEASURES: Dict[str, Callable[[str, str], float]] = {"exact": exact_match, "f1": f1}


def score_with_unanswerable(answers: Mapping[str, List[Answer]], examples: Sequence[Example]) -> Dict[str, float]:
    """Return exact_match and f1 over all examples, and apart for those with (HasAns) and without an answer (NoAns).

    `answers` maps the id of an example to its n-best list, in which "no answer" stands too. `best_exact` and `best_f1`
    are what the best threshold would give, `best_exact_thresh` and `best_f1_thresh` that threshold: the value for
    null_score_diff_threshold. An example without a list gets 0. Raises DataError without examples.
    """
    if not examples:
        raise DataError("no question to score; give the examples that the predictions belong to")
    total = len(examples)
    seen = [answers.get(example.id) for example in examples]
    has_answer = np.array([bool(example.answers) for example in examples])
    margins, spans = zip(*(null_margin(found) if found else (np.inf, "") for found in seen))
    scored = sum(found is not None for found in seen)
    result: Dict[str, float] = {}
    parts = {"HasAns": has_answer, "NoAns": ~has_answer}
    for name, measure in MEASURES.items():
        values = np.array(
            [measured(measure, found[0].text, row) if found else 0.0 for found, row in zip(seen, examples)]
        )
        result["exact_match" if name == "exact" else name] = 100.0 * values.mean()
        result.update({f"{part}_{name}": 100.0 * values[mask].mean() for part, mask in parts.items() if mask.any()})
        of_spans = np.array([measured(measure, text, row) for text, row in zip(spans, examples)])
        best, threshold = best_threshold(np.array(margins), of_spans, has_answer)
        result.update({f"best_{name}": 100.0 * best, f"best_{name}_thresh": threshold})
    return {**result, "scored": scored, "total": total}


def measured(measure: Callable[[str, str], float], prediction: str, example: Example) -> float:
    """Return the best score of a prediction over the accepted answers, "" being the only one where there is none."""
    accepted = [text for text, _ in example.answers if normalized(text)] or [""]
    if not normalized(prediction):
        return float("" in accepted)
    return max(measure(prediction, text) for text in accepted)


def null_margin(answers: Sequence[Answer]) -> Tuple[float, str]:
    """Return by how much the score of "no answer" exceeds the best span's, and that span's text.

    Scores in a list are softmax values, so the difference of what they come from is the logarithm of their ratio.
    """
    null = next(answer for answer in answers if not answer.text)
    spans = [answer for answer in answers if answer.text]
    if not spans:
        return np.inf, ""
    best = max(spans, key=lambda answer: answer.score)
    with np.errstate(divide="ignore"):
        return float(np.log(null.score) - np.log(best.score)), best.text


def best_threshold(margins: np.ndarray, of_spans: np.ndarray, has_answer: np.ndarray) -> Tuple[float, float]:
    """Return the highest mean score over all thresholds, and the lowest threshold that gives it.

    Spans count `of_spans` where the margin of "no answer" is at most the threshold; elsewhere "" is right exactly for
    questions without an answer. Where no span should ever be taken, the threshold is just below the lowest margin.
    """
    order = np.argsort(margins, kind="stable")
    sorted_margins = margins[order]
    gains = np.where(has_answer, of_spans, of_spans - 1.0)[order]  # what taking the span changes
    sums = (~has_answer).sum() + np.concatenate([[0.0], np.cumsum(gains)])
    # Questions with the same margin change sides together.
    ends = np.concatenate([[True], sorted_margins[1:] != sorted_margins[:-1], [True]])
    place = int(np.flatnonzero(ends)[sums[ends].argmax()])
    threshold = sorted_margins[place - 1] if place else np.nextafter(sorted_margins[0], -np.inf)
    return float(sums[place] / len(margins)), float(threshold)
