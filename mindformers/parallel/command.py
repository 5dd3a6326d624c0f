"""What `mindformers plan` does: a checked configuration to text or JSON."""

from __future__ import annotations

import dataclasses
import json
from typing import Optional

from mindformers.config.check import Checked
from mindformers.config.parallel_job import device_bytes
from mindformers.config.schema import RunConfig
from mindformers.errors import UsageError
from mindformers.parallel.compile_command import compile_plan, compiled_data, compiled_text
from mindformers.parallel.hardware import DEFAULT_HARDWARE, HARDWARE
from mindformers.parallel.job import Job
from mindformers.parallel.mesh import Mesh
from mindformers.parallel.plan import make_plan
from mindformers.parallel.report import plan_text, search_text
from mindformers.parallel.report_data import plan_data, search_data
from mindformers.parallel.run_job import job_of
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
    compile: bool = False
    """Whether MindSpore compiles the job, too."""
    rank: Optional[int] = None
    """The rank that is compiled."""
    stages: bool = False
    """Whether one rank of each stage is compiled."""


def plan_command(checked: Checked, wanted: Wanted) -> str:
    """Return the plan of a configuration, or with `search` the best one; raises UsageError and ConfigError."""
    run = checked.run
    for name, value in (("--devices", wanted.devices), ("--global-batch", wanted.global_batch)):
        if value is not None and value < 1:
            raise UsageError(f"{name} is {value}; it must be at least 1")
    if wanted.hardware is not None and not wanted.search:
        raise UsageError(f"--hardware {wanted.hardware}: only --search reckons with it")
    if wanted.compile and wanted.search:
        raise UsageError("--compile compiles one plan; write down what --search proposes, then compile that")
    if (wanted.rank is not None or wanted.stages) and not wanted.compile:
        raise UsageError("--rank and --stages say what --compile compiles; give --compile, too")
    job, memory = job_of(run), _memory(run, wanted)
    if wanted.search:
        return _search(job, memory, wanted)
    if wanted.devices is not None:
        job = spread(job, wanted.devices)
    if wanted.global_batch is not None:
        job = portioned(job, wanted.global_batch)
    plan = make_plan(job, memory)
    compiled = compile_plan(checked, plan, wanted.rank, wanted.stages) if wanted.compile else []
    if wanted.as_json:
        return _json({**plan_data(plan), **(compiled_data(compiled) if compiled else {})})
    return "\n\n".join((plan_text(plan), *([compiled_text(plan, compiled)] if compiled else [])))


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
