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
        """Return the scores; they are written to eval_results.json too, and details of the metric beside them."""
        banner("Start Evaluation")
        metric = self.new_metric()
        scores = self.evaluate(metric)
        if self.context.rank == 0:
            self._write(METRICS, scores)
            details = metric.details() if hasattr(metric, "details") else {}
            for name, content in details.items():
                self._write(f"eval_{name}.json", content)
            logger.info("scores are in %s", self.folder.path / METRICS)
        return scores

    def _write(self, name: str, content: Any) -> None:
        text = json.dumps(content, indent=2, ensure_ascii=False) + "\n"
        (self.folder.path / name).write_text(text, encoding="utf-8")
