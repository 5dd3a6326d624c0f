"""Trains a small model of every decoder family, on one process or placed over several; writes what each step said.

`python placed_worker.py FOLDER`: one process takes the ordinary step, several that msrun has started
take the placed one. Losses and norms of all jobs come to FOLDER/RANK.json; further names are the jobs to train.
"""

import json
import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Dict, Iterable, List, Tuple

import mindspore as ms
import numpy as np
from mindspore import nn, ops
from mindspore.communication import get_rank, init

from mindformers import build
from mindformers.build import Given
from mindformers.config.check import check_layers
from mindformers.config.source import read_text
from mindformers.data.loader import FeatureSet
from mindformers.parallel.context import ParallelContext
from mindformers.parallel.engine_settings import engine_settings
from mindformers.parallel.run_job import job_of
from mindformers.runners.folders import RunFolder
from mindformers.runners.session import Start
from mindformers.runners.train import TrainRunner
from mindformers.tasks.general import GeneralTask
from mindformers.train.placed_step import PlacedStep
from tests.distributed.shim import preload

VOCABULARY, LENGTH, LAYERS, STEPS, ROWS = 128, 32, 2, 4, 2
"""Sizes of the models; steps; rows of a device in a micro-batch."""
RUN = """
run_mode: train
use_parallel: true
trainer: {type: text_generation}
context: {device_target: CPU}
runner_config: {batch_size: %d, epochs: 1}
runner_wrapper:
  type: MFTrainOneStepCell
  use_clip_grad: true
  scale_sense: {type: DynamicLossScaleUpdateCell, loss_scale_value: 65536}
optimizer: {type: adamw}
lr_schedule: {type: cosine, learning_rate: 1.0e-3}
parallel: {parallel_mode: 1}
parallel_config: {data_parallel: 2, model_parallel: 2%s}
model:
  arch: {type: %s}
  model_config: {%s}
"""
WORDS = {"vocab_size": VOCABULARY, "seq_length": LENGTH}
PLAIN = {**WORDS, "n_layer": LAYERS, "n_head": 4}
GATED = {**WORDS, "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": LAYERS, "num_attention_heads": 8}
NO_DROPOUT = {"resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0}
ALIBI = {"position_embedding": "alibi", "normalized_head": True}
SPLIT_VOCABULARY = ", vocab_emb_dp: false"


@dataclass(frozen=True)
class Trained:
    """A model that is trained on two by two devices."""

    model: str
    config: str
    sizes: Dict[str, object]
    layout: str = ""
    """Further keys of its layout."""

    def run_text(self, rows: int) -> str:
        """Return the run file with `rows` of a device in a micro-batch."""
        sizes = json.dumps({"type": self.config, **self.sizes})
        return RUN % (rows, self.layout, self.model, sizes[1:-1])


JOBS = {
    "gpt2": Trained("GPT2LMHeadModel", "GPT2Config", {**PLAIN, "n_positions": LENGTH, "n_embd": 64, **NO_DROPOUT}),
    "llama": Trained("LlamaForCausalLM", "LlamaConfig", {**GATED, "num_key_value_heads": 2}, SPLIT_VOCABULARY),
    "baichuan": Trained("BaichuanForCausalLM", "BaichuanConfig", {**GATED, **ALIBI}),
    "bloom": Trained("BloomForCausalLM", "BloomConfig", {**PLAIN, "hidden_size": 64}),
    "internlm": Trained("InternLMForCausalLM", "InternLMConfig", GATED),
    "aquila": Trained("AquilaForCausalLM", "AquilaConfig", GATED, ", micro_batch_num: 2"),
}
"""Every family, with what the others lack: a tied table and learned positions; grouped heads beside a split vocabulary;
ALiBi with a normed head; a norm of embeddings; biases in attention alone; rotary angles alone, in micro-batches."""


def rows_of(number: int) -> FeatureSet:
    """Return rows of random tokens, whose first labels do not count: as many in each row."""
    tokens = np.random.default_rng(7).integers(0, VOCABULARY, (number, LENGTH + 1)).astype(np.int32)
    labels = tokens.copy()
    labels[:, :3] = -100
    return FeatureSet({"input_ids": tokens[:, :-1].copy(), "labels": labels})


def train(trained: Trained, rank: int, is_placed: bool) -> List[Tuple[float, float]]:
    """Train a model as a run builds it; returns loss and norm of the gradients of every step."""
    job = job_of(check_layers([read_text(trained.run_text(ROWS), "run.yaml")]).run)
    rows = ROWS if is_placed else job.global_batch
    checked = check_layers([read_text(trained.run_text(rows), "run.yaml")])
    ms.context.reset_auto_parallel_context()
    if is_placed:
        ms.set_auto_parallel_context(**engine_settings(job, rank))
    context = ParallelContext("CPU", rank, job.mesh.devices, job) if is_placed else ParallelContext("CPU")
    ms.set_seed(1)
    task, given = GeneralTask(), Given(train_dataset=rows_of(STEPS * job.global_batch))
    model = build.model(checked.run, context, given, None)
    if is_placed:
        fit_to_cpu(model)
    data = build.datasets(checked.run, task, context, given)
    state = build.state(checked.run, model, data)
    step = TrainRunner(checked, context, RunFolder(Path()), task, None, model, data, state, Start(), given).step()
    assert isinstance(step, PlacedStep) == is_placed
    step.set_train()
    said, started = [], time.monotonic()
    for columns in data.train_batches(0, 0).create_tuple_iterator(num_epochs=1):
        loss, _, _, norm, _ = step(*columns)
        said.append((float(loss.asnumpy()), float(norm.asnumpy())))
    print(f"{trained.model}: {time.monotonic() - started:.1f} s, {time.process_time():.1f} s of processors so far")
    return said


def fit_to_cpu(model: nn.Cell) -> None:
    """Take out of a placed model what MindSpore (2.10) has no means for on a CPU.

    It calls no graph within a graph there, which saves compiling and computes the same. And it has no greatest number
    of several devices: where the vocabulary is split the loss subtracts it from the logits of a row, to keep
    exponentials in range, and the sum of these few logits does.
    """
    model.cell_init_args = ""
    losses = model.head.losses.losses
    ((rows, words),) = losses.greatest.in_strategy
    if words > 1:
        losses.greatest = ops.ReduceSum(keep_dims=True).shard(((rows, words),))


def main(folder: Path, names: Iterable[str]) -> None:
    """Train models one after the other."""
    is_placed = "MS_ROLE" in os.environ
    ms.set_device("CPU")
    ms.set_context(mode=ms.GRAPH_MODE)
    rank = 0
    if is_placed:
        init()
        preload.join()
        rank = get_rank()
    said = {name: train(trained, rank, is_placed) for name, trained in JOBS.items() if name in names}
    (folder / f"{rank}.json").write_text(json.dumps(said))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:] or JOBS)
