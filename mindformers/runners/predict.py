"""Prediction: a user's inputs to answers, printed and written to results.txt."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, List

from mindformers.errors import UsageError
from mindformers.log import banner, logger
from mindformers.runners.session import Session

RESULTS = "results.txt"
SUFFIXES = (".txt", ".json", ".jsonl")
LONGEST_PATH = 1024
"""Characters; anything longer is a text."""


class PredictRunner(Session):
    """Answers what `predict_data` asks."""

    def run(self) -> List[Any]:
        """Return one result per input."""
        items = inputs(self.given.predict_data if self.given.predict_data is not None else self.config.predict_data)
        banner("Start Prediction")
        size = min(len(items), self.config.runner_config.batch_size or len(items))
        results = self.task.predict(self.task.forward(self.model), items, top_k=self.config.top_k, batch_size=size)
        logger.info("output result is: %s", results)
        file = self.folder.path / RESULTS
        lines = [json.dumps(result, ensure_ascii=False) for result in results]
        file.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        logger.info("results are in %s", file)
        return results


def inputs(data: Any) -> List[Any]:
    """Return the list of inputs: one object, a list of them, or the lines of a text file.

    Raises UsageError when there is none.
    """
    if isinstance(data, str):
        one_word = len(data) < LONGEST_PATH and not any(letter.isspace() for letter in data)
        if len(data) < LONGEST_PATH and "\n" not in data and Path(data).is_file():
            return _from_file(Path(data))
        if one_word and Path(data).suffix in SUFFIXES:
            raise UsageError(f"predict_data: no such file: {data}")
        data = [data]
    elif data is not None and not isinstance(data, list):
        data = [data]
    if not data:
        raise UsageError("predict needs input: give --predict_data a text or a file with one input a line")
    return data


def _from_file(path: Path) -> List[Any]:
    try:
        text = path.read_text(encoding="utf-8")
        if path.suffix == ".json":
            parsed = json.loads(text)
            return parsed if isinstance(parsed, list) else [parsed]
        lines = [line for line in text.splitlines() if line.strip()]
        return [json.loads(line) for line in lines] if path.suffix == ".jsonl" else lines
    except (OSError, ValueError) as error:
        raise UsageError(f"predict_data: {path} cannot be read: {error}") from None
