"""`pipeline(task, model)`: a model ready to answer, with its tokenizer and the task's form of inputs and answers."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any, Dict, Iterator, List, Union

from mindspore import nn

from mindformers.catalog import REGISTRY, TASKS
from mindformers.errors import UnknownNameError, UsageError
from mindformers.generation.generate import default_tokenizer, source_of
from mindformers.generation.settings import NAMES as SETTINGS
from mindformers.models.auto import AutoProcessor
from mindformers.registry import MindFormerModuleType as Type
from mindformers.registry import load_object
from mindformers.tasks.text_generation import TextGenerationTask
from mindformers.weights.labels import read_labels


def pipeline(
    task: str,
    model: Union[None, str, Path, nn.Cell] = None,
    tokenizer: Any = None,
    image_processor: Any = None,
    audio_processor: Any = None,
    batch_size: int = 1,
    **options: Any,
) -> Pipeline:
    """Return a function from inputs to the answers of a task.

    `model` is what `AutoModel.from_pretrained` takes, or a model; by default the task's own. `tokenizer` is by default
    the one beside the weights. `batch_size` inputs go through the model at a time. `options` are those of the task's
    class (`max_seq_len`, `prefix`, ...), and of a task that takes settings of `generate` also those, by name.

    Raises UnknownNameError for an unknown task or option, UsageError when the task reads no text, and for settings
    whose answers would not be texts alone.
    """
    name = REGISTRY.canonical(Type.TRAINER, task)
    if name not in TASKS:
        raise UsageError(f"pipeline('{task}'): this task has no predictions of its own; it can be: {', '.join(TASKS)}")
    if image_processor is not None or audio_processor is not None:
        raise UsageError(f"pipeline('{task}'): the task reads text; leave image_processor and audio_processor out")
    if not isinstance(model, nn.Cell):
        source = TASKS[name].default_model if model is None else model
        tokenizer = AutoProcessor.from_pretrained(source).tokenizer if tokenizer is None else tokenizer
        model = load_object(f"mindformers.models.auto:AutoModel{TASKS[name].head}").from_pretrained(source)
    tokenizer = default_tokenizer(model) if tokenizer is None else tokenizer
    if tokenizer is None:
        raise UsageError(f"pipeline('{task}'): no tokenizer lies beside the weights; give tokenizer=...")
    return Pipeline(_task(name, model, tokenizer, options), model, batch_size)


class Pipeline:
    """Call it with an input or a list of inputs; the result is a list with one answer for each."""

    def __init__(self, task: Any, model: nn.Cell, batch_size: int):
        """Keep a task of `mindformers.tasks` and its model."""
        self.task, self.model, self.batch_size = task, model, batch_size
        self._forward = task.forward(model)

    def __call__(self, inputs: Any, top_k: int = 1) -> List[Any]:
        """Return the answers in the form of the task's `predict`, with at most `top_k` alternatives where it has any.

        Raises DataError for inputs that the task cannot read.
        """
        items = inputs if isinstance(inputs, list) else [inputs]
        return self.task.predict(self._forward, items, top_k=top_k, batch_size=self.batch_size)

    def stream(self, text: str) -> Iterator[str]:
        """Yield the answer to one text as it is written. Raises UsageError for a task that does not write text."""
        if not isinstance(self.task, TextGenerationTask):
            raise UsageError(f"{self.task.name} gives its answer in one piece; text_generation can be streamed")
        return self._forward(text, stream=True)


def _task(name: str, model: nn.Cell, tokenizer: Any, options: Dict[str, Any]) -> Any:
    """Return the task for a model: rows that fit its positions, its outputs with the names beside its weights."""
    cls = REGISTRY.resolve(Type.TRAINER, name)
    accepted = {key: item for key, item in inspect.signature(cls).parameters.items() if key != "tokenizer"}
    if "settings" in accepted:
        # A name that both know, `seed`, is the setting: an option of the same name concerns training data.
        settings = {key: value for key, value in options.items() if key in SETTINGS or key not in accepted}
        options = {"settings": settings, **{key: options[key] for key in options.keys() - settings.keys()}}
    if "arch" in accepted:
        options = {**options, "arch": model.arch}
    for key in options:
        if key not in accepted:
            raise UnknownNameError(f"option of pipeline('{name}')", key, accepted)
    if "max_seq_len" in accepted:
        positions = model.arch.max_positions - (
            model.arch.pad_token_id + 1 if model.arch.padding_offsets_positions else 0
        )
        options = {"max_seq_len": min(accepted["max_seq_len"].default, positions), **options}
    if "num_labels" in accepted:
        options = {"num_labels": model.arch.num_labels, **options}
    task = cls(tokenizer, **options)
    source = source_of(model)
    labels = read_labels(source) if source is not None and cls.names_outputs else None
    if labels is not None:
        task.adopt_labels(labels)
    return task
