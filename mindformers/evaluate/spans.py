"""Start and end logits to answer spans: the n best of a window, then the n best of a question over its windows.

Legend of shapes: B windows of a batch, S tokens of a window, L longest answer in tokens, n size of the n-best list.
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from typing import Iterable, List, NamedTuple, Optional, Sequence, Set

import numpy as np

from mindformers.data.qa_features import Features
from mindformers.errors import DataError


@dataclass(frozen=True)
class SpanSettings:
    """How answers are looked for."""

    n_best_size: int = 20
    """Spans that are kept for a window and for a question."""
    max_answer_len: int = 30
    """Longest answer, in tokens."""
    continues: Optional[np.ndarray] = None
    """Bool by token id: whether it continues a word. Given, an answer holds whole words only; else any tokens."""
    null_threshold: Optional[float] = None
    """Given, a question may have no answer, the text "": when its score is above the best span's by more than this."""

    def __post_init__(self):
        if self.n_best_size < 1 or self.max_answer_len < 1:
            raise DataError(
                f"n_best_size={self.n_best_size}, max_answer_len={self.max_answer_len}: both must be at least 1"
            )


@dataclass(frozen=True)
class Answer:
    """A piece of a context, or the text "" from 0 to 0: no answer."""

    text: str
    """The characters `start` to `end` of the context, unchanged."""
    score: float
    """Probability among the n-best list of the question, 0 to 1."""
    start: int
    """First character in the context."""
    end: int
    """The character after the last."""


class Span(NamedTuple):
    """A piece of a context and its score, start logit plus end logit; the text "" from 0 to 0: no answer."""

    text: str
    score: float
    start: int
    end: int


class Candidates(NamedTuple):
    """The best spans of some windows; a window with fewer spans has score -inf in the remaining places."""

    rows: np.ndarray
    """[B]: windows, as indices into the features."""
    scores: np.ndarray
    """[B, n]: start logit plus end logit."""
    starts: np.ndarray
    """[B, n]: first characters."""
    ends: np.ndarray
    """[B, n]: ends, exclusive."""
    null_scores: np.ndarray
    """[B]: start logit plus end logit of the first token: that the window holds no answer."""


def window_candidates(
    features: Features, rows: np.ndarray, start_logits: np.ndarray, end_logits: np.ndarray, settings: SpanSettings
) -> Candidates:
    """Return the n best valid spans of windows, given logits [B, S], exactly (no span is overlooked).

    Valid are spans inside the context, start <= end, at most `max_answer_len` tokens (of whole words, when the settings
    say so), whose first token has its most context in this window; so a span counts once, where the model sees most
    around it. Raises DataError for logits
    that are not numbers.
    """
    start_logits, end_logits = (np.asarray(item, dtype=np.float32) for item in (start_logits, end_logits))
    unsound = ~(np.isfinite(start_logits).all(axis=1) & np.isfinite(end_logits).all(axis=1))
    if unsound.any():
        raise DataError(
            f"the model returned logits that are no finite numbers for window {rows[unsound.argmax()]}; "
            "its weights are damaged or its training diverged"
        )
    count, width = start_logits.shape
    position = np.arange(width)
    begin = features.context_begin[rows][:, None]
    in_context = (position >= begin) & (position < begin + features.context_length[rows][:, None])
    starts_may, ends_may = features.max_context[rows], in_context
    if settings.continues is not None:
        inside = settings.continues[features.input_ids[rows]]
        starts_may = starts_may & ~inside
        ends_may = ends_may & ~np.concatenate([inside[:, 1:], np.zeros((count, 1), bool)], axis=1)
    start = np.where(starts_may, start_logits, -np.inf)
    end = np.where(ends_may, end_logits, -np.inf)
    longest = min(settings.max_answer_len, width)
    padded = np.concatenate([end, np.full((count, longest - 1), -np.inf, np.float32)], axis=1)
    reachable = np.lib.stride_tricks.sliding_window_view(padded, longest, axis=1)  # [B, S, L], a view
    # The n best spans begin at the n starts whose own best spans are best: only these are looked at closely.
    top_starts = largest(start + reachable.max(axis=2), settings.n_best_size)
    each = np.arange(count)[:, None]
    sums = (start[each, top_starts][:, :, None] + reachable[each, top_starts]).reshape(count, -1)
    top = largest(sums, settings.n_best_size)
    scores = sums[each, top]
    valid = np.isfinite(scores)
    first = top_starts[each, top // longest][valid]
    starts, ends = np.zeros(scores.shape, np.int32), np.zeros(scores.shape, np.int32)
    starts[valid], ends[valid] = features.character_spans(
        np.broadcast_to(rows[:, None], scores.shape)[valid], first, first + (top % longest)[valid]
    )
    return Candidates(rows, scores, starts, ends, start_logits[:, 0] + end_logits[:, 0])


def largest(values: np.ndarray, number: int) -> np.ndarray:
    """Return the indices of the largest values of each row, largest first, the earlier of equals first."""
    number = min(number, values.shape[1])
    chosen = np.argpartition(-values, number - 1, axis=1)[:, :number]
    chosen.sort(axis=1)
    order = np.argsort(-np.take_along_axis(values, chosen, axis=1), axis=1, kind="stable")
    return np.take_along_axis(chosen, order, axis=1)


def merged(batches: Iterable[Candidates]) -> Candidates:
    """Return the candidates of several batches as one."""
    return Candidates(*(np.concatenate(parts) for parts in zip(*batches)))


def question_answers(
    contexts: Sequence[str], features: Features, candidates: Candidates, settings: SpanSettings
) -> List[List[Answer]]:
    """Return the n-best list of each question, best first; empty for a question whose windows gave no span.

    The list holds different texts: of spans with equal text the best stands for all. The score of an answer is the
    softmax, over this list, of start logit plus end logit, as in the n-best file of the published BERT script. Where
    a question may have no answer, that is in the list too, with the lowest score that a window gives it, and stands
    first when the settings' threshold says so.
    """
    owners = features.example_index[candidates.rows]
    order = np.argsort(owners, kind="stable")
    edges = np.searchsorted(owners[order], np.arange(len(contexts) + 1))
    answers: List[List[Span]] = []
    for index, context in enumerate(contexts):
        windows = order[edges[index] : edges[index + 1]]
        answers.append(
            n_best(
                context,
                candidates.scores[windows].ravel(),
                candidates.starts[windows].ravel(),
                candidates.ends[windows].ravel(),
                settings.n_best_size,
            )
        )
        if settings.null_threshold is not None and len(windows):
            answers[-1] = with_null(answers[-1], candidates.null_scores[windows].min(), settings)
    return [as_answers(spans) for spans in answers]


def n_best(context: str, scores: np.ndarray, starts: np.ndarray, ends: np.ndarray, size: int) -> List[Span]:
    """Return the best spans with different texts, best first."""
    chosen: List[Span] = []
    seen: Set[str] = set()
    for place in np.argsort(-scores, kind="stable"):
        if len(chosen) == size or not np.isfinite(scores[place]):
            break
        start, end = int(starts[place]), whole_characters(context, int(ends[place]))
        text = context[start:end]
        if text not in seen:
            seen.add(text)
            chosen.append(Span(text, float(scores[place]), start, end))
    return chosen


def with_null(spans: Sequence[Span], null_score: float, settings: SpanSettings) -> List[Span]:
    """Return the spans and "no answer" in the order of their scores, but that first which the threshold chooses."""
    null = Span("", float(null_score), 0, 0)
    found = [span for span in spans if span.text]  # a span without a character is no answer
    none = not found or null.score - found[0].score > settings.null_threshold
    first = null if none else found[0]
    rest = [span for span in (*found, null) if span is not first]
    return [first, *sorted(rest, key=lambda span: -span.score)]


def as_answers(spans: Sequence[Span]) -> List[Answer]:
    """Return spans with probabilities among each other."""
    if not spans:
        return []
    scores = np.array([span.score for span in spans])
    weights = np.exp(scores - scores.max())
    weights /= weights.sum()
    return [Answer(span.text, float(weight), span.start, span.end) for span, weight in zip(spans, weights)]


def whole_characters(context: str, end: int) -> int:
    """Return `end` moved behind combining marks, which the tokeniser strips together with accents."""
    while end < len(context) and unicodedata.combining(context[end]):
        end += 1
    return end
