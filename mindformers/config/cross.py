"""Rules that tie sections together. Each yields problems with both numbers and what would be accepted."""

from __future__ import annotations

from typing import Any, Iterator, List

from mindformers.catalog import REGISTRY
from mindformers.config.layers import Merged
from mindformers.config.parallel_job import arch_of, device_bytes, parallel_job
from mindformers.config.schema import RunConfig
from mindformers.config.source import dotted
from mindformers.errors import Problem, UnknownNameError
from mindformers.parallel import limits
from mindformers.registry import MindFormerModuleType as Type


def problems(config: RunConfig, merged: Merged) -> List[Problem]:
    """Return every broken rule of a configuration whose sections are valid on their own."""
    rules = (_task, _counts, _model, _placement, _modes, _datasets)
    return [problem for rule in rules for problem in rule(config, merged)]


def _at(merged: Merged, path: str, message: str) -> Problem:
    keys = tuple(path.split("."))
    return Problem(dotted(keys), message, merged.origin(keys))


def _task(config: RunConfig, merged: Merged) -> Iterator[Problem]:
    try:
        REGISTRY.canonical(Type.TRAINER, config.trainer.type)
    except UnknownNameError as error:
        yield _at(merged, "trainer.type", str(error).replace("unknown trainer", "unknown task"))


def _counts(config: RunConfig, merged: Merged) -> Iterator[Problem]:
    for path in (
        "runner_config.epochs",
        "runner_config.batch_size",
        "runner_config.save_checkpoint_steps",
        "runner_config.gradient_accumulation_steps",
        "eval_steps",
        "parallel_config.data_parallel",
        "parallel_config.model_parallel",
        "parallel_config.pipeline_stage",
        "parallel_config.micro_batch_num",
        "parallel_config.expert_parallel",
        "parallel_config.pp_interleave_num",
        "micro_batch_interleave_num",
        "train_dataset.batch_size",
        "eval_dataset.batch_size",
        "train_dataset.repeat",
        "top_k",
    ):
        value: Any = config
        for key in path.split("."):
            value = getattr(value, key) if value is not None else None
        if value is not None and value < 1:
            yield _at(merged, path, f"must be at least 1; it is {value}")


def _model(config: RunConfig, merged: Merged) -> Iterator[Problem]:
    if config.model.model_config is None:
        return
    options = config.model.model_config.options
    explain = getattr(options, "problem", None)
    if explain is not None and explain():
        yield _at(merged, "model.model_config", explain())
    seq_length = getattr(options, "seq_length", None)
    if seq_length is not None and seq_length < 1:
        yield _at(merged, "model.model_config.seq_length", f"must be at least 1; it is {seq_length}")
    positions = getattr(options, "max_position_embeddings", None)
    if seq_length and positions and seq_length > positions:
        yield _at(
            merged,
            "model.model_config.seq_length",
            f"is {seq_length}, but max_position_embeddings gives the model only {positions} positions",
        )


def _placement(config: RunConfig, merged: Merged) -> Iterator[Problem]:
    sizes = config.parallel_config
    portions = config.runner_config.gradient_accumulation_steps
    ways = (sizes.data_parallel, sizes.model_parallel, sizes.pipeline_stage, sizes.pp_interleave_num)
    arch = None if min(*ways, sizes.micro_batch_num, portions) < 1 else arch_of(config, "none")
    if arch is not None:
        for path, message in limits.problems(parallel_job(config, arch)):
            yield _at(merged, path, message)
    if sizes.pipeline_stage > 1 and sizes.micro_batch_num > 1 and portions > 1:
        yield _at(
            merged,
            "runner_config.gradient_accumulation_steps",
            f"is {portions}, but parallel_config.micro_batch_num {sizes.micro_batch_num} already portions the steps of "
            f"a pipeline of {sizes.pipeline_stage} stages; set it to 1",
        )
    if config.parallel.parallel_mode == 0 and sizes.model_parallel * sizes.pipeline_stage > 1:
        needs = f"model_parallel {sizes.model_parallel} and pipeline_stage {sizes.pipeline_stage} need 1"
        yield _at(merged, "parallel.parallel_mode", f"is 0, data parallel alone; {needs}")
    if device_bytes(config.context.max_device_memory or "1GB") is None:
        given = config.context.max_device_memory
        yield _at(merged, "context.max_device_memory", f"is '{given}'; write a number of GB, e.g. 30GB")


def _modes(config: RunConfig, merged: Merged) -> Iterator[Problem]:
    if config.profile and config.profile_stop_step < config.profile_start_step:
        yield _at(
            merged,
            "profile_stop_step",
            f"is {config.profile_stop_step}, before profile_start_step {config.profile_start_step}",
        )
    experts = {
        "moe_config.expert_num": config.moe_config.expert_num,
        "parallel_config.expert_parallel": config.parallel_config.expert_parallel,
    }
    for path, number in experts.items():
        if number > 1:
            yield _at(merged, path, f"is {number}; models here are dense, so it must be 1")
    if config.resume and config.load_checkpoint:
        yield _at(
            merged,
            "resume",
            "continues the newest checkpoint of output_dir, "
            f"but load_checkpoint names '{config.load_checkpoint}' too; give one of them",
        )
    if config.resume and config.overwrite:
        yield _at(merged, "overwrite", "would replace the run that resume continues; give one of them")


def _datasets(config: RunConfig, merged: Merged) -> Iterator[Problem]:
    for name in ("train_dataset", "eval_dataset"):
        section = getattr(config, name)
        for key in ("mask_policy", "sampler") if section is not None else ():
            if getattr(section, key) is not None:
                yield _at(merged, f"{name}.{key}", "is not supported for text tasks; remove it")
