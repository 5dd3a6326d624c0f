"""What `mindformers plan` does: a checked configuration to text or JSON."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Optional

from mindformers.config.check import Checked
from mindformers.config.model_files import DescribedModel
from mindformers.config.parallel_job import arch_of, device_bytes, parallel_job
from mindformers.config.schema import RunConfig
from mindformers.errors import UsageError
from mindformers.listing import counted_head
from mindformers.parallel.hardware import DEFAULT_HARDWARE, HARDWARE
from mindformers.parallel.job import Job
from mindformers.parallel.mesh import Mesh
from mindformers.parallel.plan import make_plan
from mindformers.parallel.report import plan_text, search_text
from mindformers.parallel.report_data import plan_data, search_data
from mindformers.parallel.search import search


@dataclasses.dataclass(frozen=True)
class Wanted:
    """The flags of the command."""

    devices: Optional[int] = None
    """Devices of the job; the configuration's own number when absent."""
    memory: Optional[str] = None
    """Memory of each, e.g. ``32GB``; beats the configuration's."""
    global_batch: Optional[int] = None
    """Samples of a step; the configuration's when absent."""
    hardware: Optional[str] = None
    """Devices that a search reckons with, of `hardware.HARDWARE`."""
    search: bool = False
    as_json: bool = False


def plan_command(checked: Checked, wanted: Wanted) -> str:
    """Return the plan of a configuration, or with `search` the best one; raises UsageError and ConfigError."""
    run = checked.run
    for name, value in (("--devices", wanted.devices), ("--global-batch", wanted.global_batch)):
        if value is not None and value < 1:
            raise UsageError(f"{name} is {value}; it must be at least 1")
    if wanted.hardware is not None and not wanted.search:
        raise UsageError(f"--hardware {wanted.hardware}: only --search reckons with it")
    job, memory = _job(run), _memory(run, wanted)
    if wanted.search:
        return _search(job, memory, wanted)
    if wanted.devices is not None:
        job = spread(job, wanted.devices)
    if wanted.global_batch is not None:
        job = portioned(job, wanted.global_batch)
    plan = make_plan(job, memory)
    return _json(plan_data(plan)) if wanted.as_json else plan_text(plan)


def _search(job: Job, memory: Optional[int], wanted: Wanted) -> str:
    samples, devices = wanted.global_batch or job.global_batch, wanted.devices or job.mesh.devices
    job = dataclasses.replace(job, mesh=Mesh(), batch=samples, micro_batches=1)
    hardware = HARDWARE[wanted.hardware or DEFAULT_HARDWARE]
    limit = memory if memory is not None else hardware.memory
    found = search(job, devices, limit, hardware)
    plan = make_plan(found.candidates[0].job, limit)
    return _json(search_data(found, plan)) if wanted.as_json else search_text(found, plan)


def _json(tree: object) -> str:
    return json.dumps(tree, indent=1)


def _job(run: RunConfig) -> Job:
    """Return the job of a run, with the head that its class or the family's published number has."""
    model = run.model.model_config
    if model is None or arch_of(run, "none") is None:
        raise UsageError("a plan needs model.model_config with the type of a family, e.g. GPT2Config, and its sizes")
    described = DescribedModel(Path(), run, model.options, run.model.arch.type if run.model.arch else None, None, {})
    arch = model.options.arch(counted_head(described))
    return parallel_job(run, arch)


def _memory(run: RunConfig, wanted: Wanted) -> Optional[int]:
    text = wanted.memory or run.context.max_device_memory
    if text is None:
        return None
    memory = device_bytes(text)
    if memory is None:
        raise UsageError(f"--memory {text}: write a number of GB, e.g. 32GB")
    return memory


def spread(job: Job, devices: int) -> Job:
    """Return `job` on `devices` devices: more or fewer ways of data, layers split as they are."""
    tensor, stage = job.mesh.tensor, job.mesh.stage
    if devices % (tensor * stage):
        raise UsageError(
            f"--devices {devices}: model_parallel {tensor} x pipeline_stage {stage} do not divide it; "
            f"accepted: multiples of {tensor * stage}, or --search for another mesh"
        )
    return dataclasses.replace(job, mesh=Mesh(devices // tensor // stage, tensor, stage))


def portioned(job: Job, samples: int) -> Job:
    """Return `job` with `samples` samples a step, in more or fewer micro-batches of the same size."""
    portion = job.batch * job.mesh.data
    if samples % portion:
        raise UsageError(
            f"--global-batch {samples}: micro-batches of {job.batch} on {job.mesh.data} ways of data take {portion} "
            f"samples each; accepted: multiples of {portion}"
        )
    return dataclasses.replace(job, micro_batches=samples // portion)
