"""The tasks of GLUE (Wang et al. 2019, arXiv:1804.07461): columns, labels and scores of each, as data.

Files are the tab-separated ones of gluebenchmark.com, or copies with the column names of the Hugging Face hub. Labels
stand in the hub's order, which is that of the digits where a file holds digits.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Dict, Optional, Sequence, Tuple

from mindformers.errors import UnknownNameError

ENTAILMENT = ("entailment", "not_entailment")


@dataclass(frozen=True)
class GlueTask:
    """Where a task's texts and labels stand, and how it is scored."""

    texts: Tuple[str, ...]
    """Column of the text, or columns of the two texts."""
    labels: Tuple[str, ...]
    """Names of the classes in the order of the model's outputs; none where a label is a number."""
    label: str = "label"
    """Column of the label."""
    hub_texts: Tuple[str, ...] = ()
    """Columns of the texts in copies from the hub, where these differ; the label's is called "label" there."""
    scores: Tuple[str, ...] = ("accuracy",)
    """Names in `evaluate.glue.SCORES`."""
    header: Optional[Tuple[str, ...]] = None
    """Columns of a file that has no header line."""
    dev_stage: str = "dev"
    """Which of `rows.SPLIT_NAMES` is the development split."""
    span: Optional[Tuple[float, float]] = None
    """Smallest and largest number that a label may be."""


GLUE: Dict[str, GlueTask] = {
    "cola": GlueTask(
        ("sentence",),
        ("unacceptable", "acceptable"),
        scores=("matthews_correlation",),
        header=("source", "label", "mark", "sentence"),
    ),
    "sst2": GlueTask(("sentence",), ("negative", "positive")),
    "mrpc": GlueTask(
        ("#1 String", "#2 String"),
        ("not_equivalent", "equivalent"),
        label="Quality",
        hub_texts=("sentence1", "sentence2"),
        scores=("accuracy", "f1"),
    ),
    "qqp": GlueTask(
        ("question1", "question2"),
        ("not_duplicate", "duplicate"),
        label="is_duplicate",
        scores=("accuracy", "f1"),
    ),
    "stsb": GlueTask(("sentence1", "sentence2"), (), label="score", scores=("pearson", "spearmanr"), span=(0.0, 5.0)),
    "mnli": GlueTask(
        ("sentence1", "sentence2"),
        ("entailment", "neutral", "contradiction"),
        label="gold_label",
        hub_texts=("premise", "hypothesis"),
        dev_stage="dev_matched",
    ),
    "qnli": GlueTask(("question", "sentence"), ENTAILMENT),
    "rte": GlueTask(("sentence1", "sentence2"), ENTAILMENT),
    "wnli": GlueTask(("sentence1", "sentence2"), ("not_entailment", "entailment")),
}
"""Name -> the task. The mismatched split of MNLI is its `stage: dev_mismatched`."""


def glue_task(name: str) -> GlueTask:
    """Return a task by its name, "SST-2" or "sst2". Raises UnknownNameError."""
    plain = name.lower().replace("-", "").replace("_", "")
    if plain not in GLUE:
        raise UnknownNameError("GLUE task", name, GLUE)
    return GLUE[plain]


def pair_task(labels: Sequence[str]) -> Optional[GlueTask]:
    """Return a task on pairs of texts with these labels, in whatever order and case; None when there is none."""
    names = {label.lower() for label in labels}
    return next((task for task in GLUE.values() if len(task.texts) == 2 and names and names == set(task.labels)), None)
