"""Compile one rank of a parallel job in a process of its own: the work behind ``mindformers plan --compile``.

``python -m mindformers.dry_run FOLDER`` reads `FOLDER/order` and writes `FOLDER/result.json`; with ``--meet`` it is
where that process registers, as MindSpore asks of every parallel job.
"""

from __future__ import annotations

import dataclasses
import json
import math
import resource
import sys
import time
from pathlib import Path
from typing import Any, Dict, List, Tuple

import mindspore as ms
import numpy as np
from mindspore import Tensor, nn
from mindspore.communication import init
from mindspore.graph.api import _cell_graph_executor

from mindformers import build
from mindformers.build import Given
from mindformers.catalog import REGISTRY
from mindformers.config.check import Checked
from mindformers.config.schema import RunConfig
from mindformers.data.loader import FeatureSet
from mindformers.data.masked_text import MaskedTextDataLoader
from mindformers.parallel.apply import apply
from mindformers.parallel.compile_order import JOINED, RESULT, CompileOrder, read_order
from mindformers.parallel.compiled_graph import operations
from mindformers.parallel.context import start_compiler
from mindformers.parallel.job import Job
from mindformers.registry import MindFormerModuleType as Type
from mindformers.runners.folders import RunFolder
from mindformers.runners.session import Start
from mindformers.runners.train import TrainRunner
from mindformers.tasks.general import GeneralTask

PASS = "validate"
"""The compiler's pass whose graph is read: the last before a device's own."""


def compile_rank(folder: Path, order: CompileOrder) -> Dict[str, Any]:
    """Compile the training step of `order` as a run builds it, with rows of zeros and weights without memory."""
    started = time.monotonic()
    job, checked = order.job, _compilable(order)
    context = start_compiler(job, order.rank, order.target)
    (folder / JOINED).touch()
    ms.set_context(save_graphs=1, save_graphs_path=str(folder))
    model = _model(checked.run, job)
    rows = FeatureSet({name: np.zeros((job.global_batch, *size), np.int32) for name, size in _columns(job).items()})
    task, given = GeneralTask(), Given(model=model, train_dataset=rows)
    data = build.datasets(checked.run, task, context, given)
    state = build.state(checked.run, model, data)
    step = TrainRunner(checked, context, RunFolder(folder), task, None, model, data, state, Start(), given).step()
    step.set_train()
    compiling = time.monotonic()
    columns = [Tensor(column[: job.global_batch]) for column in rows.columns.values()]
    _cell_graph_executor.compile(step, *columns, phase="train")
    compiled = time.monotonic()
    (graph,) = folder.glob(f"rank_*/*{PASS}*.ir")
    with graph.open(encoding="utf-8", errors="replace") as lines:
        counts = operations(lines)
    return {
        "seconds": {"before": compiling - started, "compiling": compiled - compiling},
        "memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        "layouts": {name: _layout(item) for name, item in step.parameter_layout_dict.items()},
        "operations": [[kind, list(ranks), count] for (kind, ranks), count in sorted(counts.items())],
    }


def _model(run: RunConfig, job: Job) -> nn.Cell:
    """Return the placed network; its weights stay without values."""
    arch, sizes = run.model.arch, run.model.model_config
    assert arch is not None and sizes is not None  # the command refuses others
    model = REGISTRY.resolve(Type.MODELS, arch.type)(sizes.options, fill=False)
    apply(model, job)
    return model


def _columns(job: Job) -> Dict[str, Tuple[int, ...]]:
    """Return the columns that a task makes for the model's head, each with the size of a row."""
    arch, text = job.arch, (job.seq_length,)
    if arch.head == "causal_lm":
        return {"input_ids": text, "labels": (job.seq_length + 1,)}
    columns: Dict[str, Tuple[int, ...]] = {"input_ids": text, "attention_mask": text}
    if arch.type_vocab_size > 0:
        columns["token_type_ids"] = text
    if arch.head in ("masked_lm", "pre_training"):
        some = (math.ceil(job.seq_length * MaskedTextDataLoader().mask_probability),)
        columns.update(masked_positions=some, labels=some)
    if arch.head == "pre_training":
        columns["sentence_labels"] = ()
    if arch.head in ("seq2seq_lm", "token_classification"):
        columns["labels"] = text
    if arch.head == "sequence_classification":
        columns["labels"] = ()
    if arch.head == "question_answering":
        columns.update(start_positions=(), end_positions=())
    return columns


def _compilable(order: CompileOrder) -> Checked:
    """Return the configuration of a training run that the target has the types for."""
    run = order.checked.run
    sizes = run.model.model_config
    assert sizes is not None
    options = dataclasses.replace(sizes.options, compute_dtype=order.compute_dtype)
    model = dataclasses.replace(run.model, model_config=dataclasses.replace(sizes, options=options))
    run = dataclasses.replace(run, model=model, run_mode="train", do_eval=False)
    return dataclasses.replace(order.checked, run=run)


def _layout(layout: List[Any]) -> Dict[str, Any]:
    """Return the device matrix, the axis of each dimension, its slice and the group that shares a slice."""
    return {"devices": layout[0], "axes": layout[1], "slice": layout[2], "shared_by": layout[5]}


def main(arguments: List[str]) -> None:
    """Play one of the two processes."""
    if arguments[1:] == ["--meet"]:
        ms.set_device("CPU")
        init()
        return
    folder = Path(arguments[0])
    result = compile_rank(folder, read_order(folder))
    (folder / RESULT).write_text(json.dumps(result), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
