"""Evaluation: the task's metric over every row of the evaluation data."""

from __future__ import annotations

import json
from typing import Any, Dict

from mindformers.log import banner, logger
from mindformers.runners.session import Session

METRICS = "eval_results.json"


class EvaluateRunner(Session):
    """Scores the restored model."""

    def run(self) -> Dict[str, Any]:
        """Return the scores; they are written to eval_results.json too."""
        banner("Start Evaluation")
        scores = self.evaluate()
        if self.context.rank == 0:
            file = self.folder.path / METRICS
            file.write_text(json.dumps(scores, indent=2) + "\n", encoding="utf-8")
            logger.info("scores are in %s", file)
        return scores
