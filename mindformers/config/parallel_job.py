"""From the sections of a configuration to a `parallel.job.Job`: r0.3's and MindSpore's words to numbers."""

from __future__ import annotations

import re
from typing import Optional

from mindformers.arch.stacks import Head, StackArch
from mindformers.config.schema import RunConfig
from mindformers.parallel.job import Job, Recompute
from mindformers.parallel.mesh import Mesh

BYTES = {"float32": 4, "float16": 2, "bfloat16": 2}
_MEMORY = re.compile(r"\s*(\d+(?:\.\d+)?)\s*G(?:i?B)?\s*", re.IGNORECASE)


def arch_of(run: RunConfig, head: Head) -> Optional[StackArch]:
    """Return the architecture that a configuration describes, None when it describes none or a wrong one."""
    config = run.model.model_config.options if run.model.model_config else None
    arch, problem = getattr(config, "arch", None), getattr(config, "problem", None)
    return None if arch is None or (problem is not None and problem()) else arch(head)


def device_bytes(text: str) -> Optional[int]:
    """Return the bytes of a device's memory as MindSpore reads them: a GB has 2^30; None for other text."""
    match = _MEMORY.fullmatch(text)
    return int(float(match[1]) * 2**30) if match else None


def parallel_job(run: RunConfig, arch: StackArch) -> Job:
    """Return the job of a checked configuration with the model `arch`."""
    sizes, again, split = run.parallel_config, run.recompute_config, run.parallel.parallel_optimizer_config
    config = run.model.model_config.options if run.model.model_config else None
    seq_length = getattr(config, "seq_length", None)
    given = run.runner_config.batch_size or (run.train_dataset.batch_size if run.train_dataset else 1)
    splits_optimizer = run.parallel.enable_parallel_optimizer or sizes.optimizer_shard
    compute_type = "float32" if run.context.device_target == "CPU" else getattr(config, "compute_dtype", "float32")
    return Job(
        arch=arch,
        mesh=Mesh(sizes.data_parallel, sizes.model_parallel, sizes.pipeline_stage),
        seq_length=arch.max_positions if seq_length is None else seq_length,
        batch=given * run.micro_batch_interleave_num,
        micro_batches=sizes.micro_batch_num * run.runner_config.gradient_accumulation_steps,
        schedule=run.parallel.pipeline_config.pipeline_scheduler,
        chunks=sizes.pp_interleave_num,
        stage_layers=None if sizes.stage_layers is None else tuple(sizes.stage_layers),
        splits_sequence=sizes.use_seq_parallel,
        splits_vocab=not sizes.vocab_emb_dp,
        recompute=_recompute(run),
        recomputed_layers=tuple(again.recompute) if isinstance(again.recompute, list) else None,
        slices_checkpoints=again.recompute_slice_activation,
        repeats_layer_sums=again.mp_comm_recompute,
        repeats_weight_gathers=again.parallel_optimizer_comm_recompute,
        shard_level=int(split.optimizer_level[-1]) if splits_optimizer else 0,
        shard_size=None if split.optimizer_weight_shard_size == -1 else split.optimizer_weight_shard_size,
        shard_threshold=split.parallel_optimizer_threshold * 1024,
        param_bytes=BYTES.get(getattr(config, "param_init_type", "float32"), 4),
        compute_bytes=BYTES.get(compute_type, 4),
    )


def _recompute(run: RunConfig) -> Recompute:
    if run.recompute_config.select_recompute:
        return "selective"
    return "full" if run.recompute_config.recompute is not False else "none"
