"""What the sections of a configuration say together about text classification."""

from __future__ import annotations

from typing import Any, List, Optional, Tuple

from mindformers.config.options import Accuracy, TextClassificationLoader, TextClassificationMetric
from mindformers.config.schema import RunConfig
from mindformers.errors import UsageError

TRAINING = ("train", "finetune")
OF_THE_MODEL = ("task_name", "labels", "max_seq_len")
"""Options of a data loader that a model is made for."""


def loader_options(config: RunConfig) -> List[Tuple[str, TextClassificationLoader]]:
    """Return name and loader options of the dataset sections that have them, the training set's first.

    Raises UsageError where one run would train and evaluate with different options.
    """
    sections = {"train_dataset": config.train_dataset, "eval_dataset": config.eval_dataset}
    found = [
        (name, section.data_loader.options)
        for name, section in sections.items()
        if section is not None
        and section.data_loader is not None
        and isinstance(section.data_loader.options, TextClassificationLoader)
    ]
    for option in OF_THE_MODEL if len(found) == 2 and config.run_mode in TRAINING and config.do_eval else ():
        (_, ours), (_, theirs) = ((name, getattr(item, option)) for name, item in found)
        if None not in (ours, theirs) and ours != theirs:
            raise UsageError(
                f"train_dataset.data_loader.{option} is {ours!r}, but eval_dataset.data_loader.{option} is {theirs!r}; "
                "one model is trained and evaluated, so give both the same"
            )
    return found


def metric_scores(config: RunConfig) -> Optional[List[str]]:
    """Return the scores that the section `metric` asks for, None where it leaves them to the task.

    Raises UsageError for a metric that does not score texts.
    """
    chosen = config.metric.options if config.metric is not None else None
    if chosen is None:
        return None
    if isinstance(chosen, TextClassificationMetric):
        return chosen.scores
    if isinstance(chosen, Accuracy) and chosen.eval_type == "classification":
        return ["accuracy"]
    wanted = f"{config.metric.type}{{eval_type: {chosen.eval_type}}}" if isinstance(chosen, Accuracy) else ""
    raise UsageError(
        f"metric: {wanted or config.metric.type} does not score texts with one label each; accepted are "
        "TextClassificationMetric and Accuracy{eval_type: classification}"
    )


def check_padding(tokenizer: Any, model: Any, arch: str) -> None:
    """Raise UsageError when model and tokenizer mean different tokens by padding."""
    # A decoder classifies by the last token that is no padding, so both must mean the same token.
    padding = getattr(model, "pad_token_id", tokenizer.pad_token_id)
    if padding != tokenizer.pad_token_id and tokenizer.pad_token_id is not None:
        raise UsageError(
            f"model.model_config.pad_token_id is {padding}, but the tokenizer pads with {tokenizer.pad_token_id} "
            f"({tokenizer.pad_token!r}); {arch or 'the model'} must know its padding, so set it to that"
        )
