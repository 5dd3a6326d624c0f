"""The story of a run, in order. Every door ends here: `run_mindformer.py`, the `mindformers` command and `Trainer`."""

from __future__ import annotations

from typing import Any

from mindformers import build
from mindformers.build import NOTHING_GIVEN, Given
from mindformers.config.check import Checked


def run(checked: Checked, given: Given = NOTHING_GIVEN) -> Any:
    """Carry out one run and return its result: metrics after training and evaluation, answers after prediction.

    `given` are objects that a caller made itself (a model cell, datasets, callbacks); everything else comes from the
    configuration. Raises MindFormersError for what the user can repair.
    """
    config = checked.run
    context = build.parallel_context(config)  # devices and graph mode, before any cell exists
    resumed = build.resumed_checkpoint(config)  # found and verified once; None: nothing is continued
    folder = build.run_folder(checked, context, resumed)  # a folder of its own; nothing earlier is touched
    weights = build.weights_source(config, resumed)  # where weights come from; None: from scratch
    tokenizer = build.tokenizer(config, weights, given)
    task = build.task(config, tokenizer, weights)  # which data, which head, which metric
    model = build.model(config, context, given, tokenizer)  # arithmetic only
    data = build.datasets(config, task, context, given)
    state = build.state(config, model, data)  # optimizer, schedule, loss scale; None when nothing is trained
    start = build.restore(config, model, data, state, weights)
    runner = build.runner(config)
    return runner(checked, context, folder, task, tokenizer, model, data, state, start, given).run()
