"""Start the engine: device, execution mode, random states and, in a parallel run, the process group."""

from __future__ import annotations

import os
from dataclasses import dataclass
from operator import attrgetter
from typing import Dict, List, Optional, Tuple

import mindspore as ms
import numpy as np
from mindspore import ops
from mindspore.communication import get_group_size, get_rank, init

from mindformers.config.schema import RunConfig
from mindformers.errors import UsageError
from mindformers.log import logger
from mindformers.parallel.engine_settings import engine_settings
from mindformers.parallel.job import Job
from mindformers.parallel.run_job import job_of

CARRIED_LAYOUT: Dict[str, object] = {
    "parallel.parallel_mode": 0,
    "parallel_config.model_parallel": 1,
    "parallel_config.pipeline_stage": 1,
    "parallel.enable_parallel_optimizer": False,
    "parallel_config.optimizer_shard": False,
}
"""Key of the configuration -> the only value that a data parallel run carries out; one device splits nothing."""

CARRIED_CHOICES: Dict[str, object] = {
    "parallel_config.micro_batch_num": 1,
    "micro_batch_interleave_num": 1,
    "recompute_config.recompute": False,
    "recompute_config.select_recompute": False,
}
"""The same of what saves a training run memory, or changes the samples of its steps."""


@dataclass(frozen=True)
class ParallelContext:
    """What this process is among all processes of the run."""

    device_target: str
    rank: int = 0
    num_ranks: int = 1
    job: Optional[Job] = None
    """The job that MindSpore's parallel compiler carries out; None where each process computes on its own."""

    @property
    def reader(self) -> Tuple[int, int]:
        """Number of this process among those that read rows of their own, and how many these are.

        In a compiled job every process reads the rows of all.
        """
        return (self.rank, self.num_ranks) if self.job is None else (0, 1)

    def agree(self, number: int) -> int:
        """Return rank 0's `number` on every rank."""
        if self.num_ranks == 1:
            return number
        (agreed,) = ops.Broadcast(0)((ms.Tensor(np.array([number], np.int32)),))
        return int(agreed.asnumpy()[0])


def start(config: RunConfig) -> ParallelContext:
    """Start the engine for a run; raises UsageError for a device that is not there or what no run carries out."""
    job = compiled_job(config)
    if job is None:
        refuse_planned_only(config)
    section = config.context
    target = _device(section.device_target)
    _take_device(target, section.device_id)
    ms.set_context(mode=ms.PYNATIVE_MODE if section.mode else ms.GRAPH_MODE)
    ms.set_recursion_limit(section.max_call_depth)
    if section.save_graphs:
        ms.set_context(save_graphs=True, save_graphs_path=section.save_graphs_path)
    if section.enable_graph_kernel:
        ms.set_context(enable_graph_kernel=True, graph_kernel_flags=section.graph_kernel_flags)
    if section.max_device_memory and target != "CPU":
        ms.runtime.set_memory(max_size=section.max_device_memory)
    if not config.use_parallel:
        ms.context.reset_auto_parallel_context()
        context = ParallelContext(target)
    else:
        context = _join(config, target, job)
    ms.set_seed(config.seed)
    np.random.seed(config.seed)
    return context


def compiled_job(config: RunConfig) -> Optional[Job]:
    """Return the job of a training run that MindSpore's parallel compiler carries out, None for any other run.

    The compiler (2.10) takes Ascend devices only.
    """
    trains = config.run_mode in ("train", "finetune")
    on_ascend = config.context.device_target != "CPU" and ms.get_context("device_target") == "Ascend"
    return job_of(config) if config.use_parallel and trains and on_ascend and _planned_only(config) else None


def start_compiler(job: Job, rank: int, target: str) -> ParallelContext:
    """Start the engine for a process that compiles for `rank` of `job` on its own, and runs nothing."""
    ms.set_device(target)
    ms.set_context(mode=ms.GRAPH_MODE)
    init()
    ms.set_auto_parallel_context(**engine_settings(job, rank))
    return ParallelContext(target, rank, job.mesh.devices, job)


def _planned_only(config: RunConfig) -> List[str]:
    """Return every value of `config` that a run without the parallel compiler would leave out."""
    carried: Dict[str, object] = {}
    if config.use_parallel:
        carried.update(CARRIED_LAYOUT)
    if config.run_mode in ("train", "finetune"):
        carried.update(CARRIED_CHOICES)
    given = {key: attrgetter(key)(config) for key in carried}
    return [f"{key} is {given[key]}, runs take {carried[key]}" for key in carried if given[key] != carried[key]]


def refuse_planned_only(config: RunConfig) -> None:
    """Raise UsageError with every value of `config` that a plan reckons with and this run would leave out."""
    found = _planned_only(config)
    if found:
        raise UsageError(
            f"this version plans it, but carries out no run of it: {'; '.join(found)}. What runs is data parallel, "
            "with runner_config.gradient_accumulation_steps for more samples a step; `mindformers plan` shows the rest"
        )


def _take_device(target: str, device_id: int) -> None:
    """Choose the device; in a process that has computed something already, it is the one that did."""
    try:
        ms.set_device(target, device_id) if target == "Ascend" else ms.set_device(target)
    except RuntimeError as error:  # the engine runs: it cannot be moved, and need not be when it is where it should be
        if ms.get_context("device_target") != target or (
            target == "Ascend" and ms.get_context("device_id") != device_id
        ):
            raise UsageError(
                f"context.device_target {target}: this process has computed on {ms.get_context('device_target')} "
                "already; start the run in a process of its own"
            ) from error


def _device(wanted: str) -> str:
    """Return the device to use; an explicit one must be there."""
    found = ms.get_context("device_target")  # before anything is set: the best device that this installation can use
    if wanted == "auto":
        return "Ascend" if found == "Ascend" else "CPU"
    if wanted == "Ascend" and found != "Ascend":
        raise UsageError(
            "context.device_target is Ascend, but MindSpore finds no Ascend device here; "
            "use --device_target CPU (or auto)"
        )
    return wanted


def _join(config: RunConfig, target: str, job: Optional[Job]) -> ParallelContext:
    if not any(name in os.environ for name in ("MS_ROLE", "RANK_TABLE_FILE", "MS_WORKER_NUM", "OMPI_COMM_WORLD_SIZE")):
        raise UsageError(
            "--use_parallel needs a launcher that starts every process: mindformers launch CONFIG --ranks N, "
            "scripts/run_distribute.sh with a rank table, or msrun --worker_num=N --local_worker_num=N ..."
        )
    if "MS_ROLE" not in os.environ and "RANK_TABLE_FILE" in os.environ and "RANK_ID" not in os.environ:
        raise UsageError(
            "RANK_TABLE_FILE is set, but RANK_ID is not: a process cannot know which rank of the table it is; start "
            "with scripts/run_distribute.sh or mindformers launch, which set it"
        )
    init()
    context = ParallelContext(target, get_rank(), get_group_size(), job)
    if job is None:
        ms.set_auto_parallel_context(
            parallel_mode=ms.ParallelMode.DATA_PARALLEL,
            gradients_mean=config.parallel.gradients_mean,
            device_num=context.num_ranks,
        )
    elif context.num_ranks != job.mesh.devices:
        raise UsageError(
            f"{context.num_ranks} processes were started, but data_parallel {job.mesh.data} x model_parallel "
            f"{job.mesh.tensor} x pipeline_stage {job.mesh.stage} take {job.mesh.devices}; start as many"
        )
    else:
        ms.set_auto_parallel_context(**engine_settings(job, context.rank))
    logger.info("rank %d of %d on %s", context.rank, context.num_ranks, target)
    return context


def rank_from_environment() -> int:
    """Return the rank that the launcher gave this process, before the engine is started."""
    for name in ("RANK_ID", "MS_NODE_ID", "OMPI_COMM_WORLD_RANK"):
        if os.environ.get(name, "").isdigit():
            return int(os.environ[name])
    return 0
