"""Start the engine: device, execution mode, random states and, in a parallel run, the process group."""

from __future__ import annotations

import os
from dataclasses import dataclass

import mindspore as ms
import numpy as np
from mindspore import ops
from mindspore.communication import get_group_size, get_rank, init

from mindformers.config.schema import RunConfig
from mindformers.errors import UsageError
from mindformers.log import logger

DATA_PARALLEL = 0


@dataclass(frozen=True)
class ParallelContext:
    """What this process is among all processes of the run."""

    device_target: str
    rank: int = 0
    num_ranks: int = 1

    def agree(self, number: int) -> int:
        """Return rank 0's `number` on every rank."""
        if self.num_ranks == 1:
            return number
        (agreed,) = ops.Broadcast(0)((ms.Tensor(np.array([number], np.int32)),))
        return int(agreed.asnumpy()[0])


def start(config: RunConfig) -> ParallelContext:
    """Start the engine for a run; raises UsageError for a device that is not there or a mode we cannot carry out."""
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
        context = _join(config, target)
    ms.set_seed(config.seed)
    np.random.seed(config.seed)
    return context


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


def _join(config: RunConfig, target: str) -> ParallelContext:
    sizes = config.parallel_config
    if config.parallel.parallel_mode != DATA_PARALLEL or sizes.model_parallel * sizes.pipeline_stage > 1:
        raise UsageError(
            "only data parallel runs are carried out by this version: set parallel.parallel_mode 0, "
            f"model_parallel 1 and pipeline_stage 1 (they are {config.parallel.parallel_mode}, "
            f"{sizes.model_parallel} and {sizes.pipeline_stage})"
        )
    if not any(name in os.environ for name in ("MS_ROLE", "RANK_TABLE_FILE", "MS_WORKER_NUM", "OMPI_COMM_WORLD_SIZE")):
        raise UsageError(
            "--use_parallel needs a launcher that starts every process: scripts/run_distribute.sh with a rank "
            "table, or msrun --worker_num=N --local_worker_num=N run_mindformer.py ..."
        )
    init()
    context = ParallelContext(target, get_rank(), get_group_size())
    ms.set_auto_parallel_context(
        parallel_mode=ms.ParallelMode.DATA_PARALLEL,
        gradients_mean=config.parallel.gradients_mean,
        device_num=context.num_ranks,
    )
    logger.info("rank %d of %d on %s", context.rank, context.num_ranks, target)
    return context


def rank_from_environment() -> int:
    """Return the rank that the launcher gave this process, before the engine is started."""
    for name in ("RANK_ID", "MS_NODE_ID", "OMPI_COMM_WORLD_RANK"):
        if os.environ.get(name, "").isdigit():
            return int(os.environ[name])
    return 0
