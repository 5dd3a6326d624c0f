"""Beam search and beam sampling, with the rules of Hugging Face's `generate` (version 5)."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from typing import Any, List, Sequence, Tuple

import numpy as np

from mindformers.generation import logits as rules
from mindformers.generation.rows import AnySession, Row

UNREACHED = -1e9
"""Score of a beam or a place that holds no text yet."""


@dataclass(frozen=True)
class Beam:
    """A text that is followed, or a finished one."""

    score: float
    """Sum of log-probabilities; of a finished text divided by its length to the power of the length penalty."""
    tokens: Tuple[int, ...] = ()
    log_probs: Tuple[float, ...] = ()
    parent: int = 0
    """Which beam of the step before it continues."""
    is_finished: bool = False


class BeamSearch:
    """The search for the answers to one prompt; `template` holds prompt, settings, limit and random numbers."""

    def __init__(self, template: Row, tokenizer: Any, context: Sequence[int]):
        self.template, self.settings = template, template.settings
        self.tokenizer, self.context = tokenizer, context
        count = self.settings.num_beams
        # All beams are alike at first: only one of them may be continued.
        self.running = [Beam(0.0)] + [Beam(UNREACHED)] * (count - 1)
        self.finished = [Beam(UNREACHED)] * count
        self.is_done = False

    def step(self, logits_NV: np.ndarray) -> None:
        """Continue the beams by the logits after each of them, float32 [beams, V]."""
        candidates = self._candidates(logits_NV)
        ends = [self._ends(candidate) for candidate in candidates]
        open_scores = np.array([item.score + UNREACHED * end for item, end in zip(candidates, ends)])
        count = self.settings.num_beams
        self.running = [
            Beam(
                float(open_scores[place]),
                candidates[place].tokens,
                candidates[place].log_probs,
                candidates[place].parent,
            )
            for place in rules.largest(open_scores, count)
        ]
        is_closed = self.settings.early_stopping is True and all(beam.is_finished for beam in self.finished)
        if not is_closed:
            self._finish([item for item, end in zip(candidates[:count], ends) if end])
        self.is_done = all(ends) or not self._can_improve()

    def _candidates(self, logits_NV: np.ndarray) -> List[Beam]:
        """Return continuations of all beams: enough that, whichever of them end, others are left to go on with.

        The likeliest first; in beam sampling in the order in which they were drawn.
        """
        settings, prompt = self.settings, self.template.prompt
        log_probs_NV = rules.log_probabilities(logits_NV)
        ruled = []
        for beam, row in zip(self.running, log_probs_NV):
            row = rules.allowed(row, settings, [*prompt, *beam.tokens], len(beam.tokens), len(prompt))
            ruled.append(rules.warped(row, settings) if settings.do_sample else row)
        ruled_NV = np.stack(ruled)
        scores = (ruled_NV + np.array([beam.score for beam in self.running])[:, None]).reshape(-1)
        count = max(2, 1 + len(settings.eos)) * settings.num_beams
        places = (
            rules.draw_several(scores, count, self.template.random)
            if settings.do_sample
            else rules.largest(scores, count)
        )
        found = []
        for parent, token in zip(*np.divmod(places, logits_NV.shape[1])):
            before, log_prob = self.running[parent], float(ruled_NV[parent, token])
            score = before.score + log_prob
            found.append(Beam(score, (*before.tokens, int(token)), (*before.log_probs, log_prob), int(parent)))
        return found

    def _ends(self, candidate: Beam) -> bool:
        settings, tokens = self.settings, candidate.tokens
        if tokens[-1] in settings.eos or len(tokens) >= self.template.limit:
            return True
        return bool(settings.stop) and self.row_of(candidate).finished is not None

    def _finish(self, ended: Sequence[Beam]) -> None:
        """Keep the best of the finished texts and these."""
        penalty = self.settings.length_penalty
        scored = [
            Beam(beam.score / len(beam.tokens) ** penalty, beam.tokens, beam.log_probs, beam.parent, True)
            for beam in ended
        ]
        merged = [*self.finished, *scored]
        best = rules.largest(np.array([beam.score for beam in merged]), self.settings.num_beams)
        self.finished = [merged[place] for place in best]

    def _can_improve(self) -> bool:
        """Return whether a running beam beats the worst finished text.

        Its score is divided by today's length, or with early_stopping="never" by the one that suits it best.
        """
        settings, running = self.settings, self.running[0]
        are_finished = [beam.is_finished for beam in self.finished]
        if settings.early_stopping is True and all(are_finished):
            return False
        looks_ahead = settings.early_stopping == "never" and settings.length_penalty > 0
        length = self.template.limit if looks_ahead else len(running.tokens)
        best = running.score / length**settings.length_penalty
        return not all(are_finished) or best > min(beam.score for beam in self.finished)

    def answers(self) -> List[Row]:
        """Return the best texts, best first."""
        return [self.row_of(beam) for beam in self.finished[: self.settings.num_return_sequences]]

    def row_of(self, beam: Beam) -> Row:
        """Return a row with the tokens of a beam, ended where they end it."""
        template = self.template
        row = Row(template.prompt, self.settings, template.limit, 0, self.context, self.tokenizer)
        for token in beam.tokens:
            row.take(token)
        row.log_probs = list(beam.log_probs)
        return row


def search(session: AnySession, searches: Sequence[BeamSearch]) -> None:
    """Run all searches to their end, and close the session; it has `num_beams` rows for each, one after the other."""
    count = searches[0].settings.num_beams
    with closing(session):
        logits = session.start()
        while True:
            open_rows = np.repeat([not item.is_done for item in searches], count)
            rules.check_finite(logits[open_rows])
            for number, item in enumerate(searches):
                if not item.is_done:
                    item.step(logits[number * count : (number + 1) * count])
            if all(item.is_done for item in searches):
                return
            beams = [beam for item in searches for beam in item.running]
            first_rows = np.repeat(np.arange(len(searches)) * count, count)
            session.reorder(first_rows + [beam.parent for beam in beams])
            still_open = np.repeat([not item.is_done for item in searches], count)
            logits = session.advance(np.array([beam.tokens[-1] for beam in beams]), still_open)
