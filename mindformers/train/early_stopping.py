"""Training ends when evaluation no longer improves."""

from __future__ import annotations

from typing import Any, Dict, Optional

from mindspore.train.callback import RunContext

from mindformers.errors import UsageError
from mindformers.log import logger
from mindformers.train.eval_callback import EvalCallback
from mindformers.train.hooks import DECISION, TrainingCallback


class EarlyStopping(TrainingCallback):
    """Ends training after `patience` evaluations in a row without a watched metric better by more than `min_delta`.

    Raises:
        UsageError: for a patience below 1, a negative `min_delta`, or an evaluation that watches no metric.
    """

    priority = DECISION

    def __init__(self, evaluation: EvalCallback, patience: int = 3, min_delta: float = 0.0):
        super().__init__()
        if patience < 1 or min_delta < 0:
            raise UsageError(
                f"patience is {patience} and min_delta {min_delta}; at least 1 and at least 0 are accepted"
            )
        if evaluation.watch is None:
            raise UsageError("EarlyStopping needs a score to follow, but this task names no main metric; remove it")
        self.evaluation, self.patience, self.min_delta = evaluation, patience, min_delta
        self.best: Optional[float] = None
        self.waited = 0

    def state_dict(self) -> Dict[str, Any]:
        """Return the best value and how many evaluations have passed since."""
        return {"best": self.best, "waited": self.waited}

    def load_state_dict(self, state: Dict[str, Any]) -> None:
        """Go on waiting where the resumed run stood."""
        self.best, self.waited = state["best"], state["waited"]

    def on_train_step_end(self, run_context: RunContext) -> None:
        """Count an evaluation of this step; ask for the end when patience is over."""
        score = self.evaluation.score
        if score is None:
            return
        if self.evaluation.improves(score, self.best, self.min_delta):
            self.best, self.waited = score, 0
            return
        self.waited += 1
        if self.waited >= self.patience:
            logger.info(
                "early stopping: %s has not been better than %s in the last %d evaluations",
                self.evaluation.watch,
                "nan" if self.best is None else f"{self.best:.6g}",  # no score was finite yet
                self.waited,
            )
            run_context.request_stop()
