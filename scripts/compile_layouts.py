"""Compile the shipped run files of several devices with MindSpore's parallel compiler, one rank of each stage.

Usage: python scripts/compile_layouts.py [RUN_FILE ...]; needs no accelerators. Jobs are compiled with at most twice as
many micro-batches as stages: every further one repeats the same calls. Ends with 1 when a job does not compile or
differs from its plan.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import List

from mindformers.config.check import check_file
from mindformers.errors import MindFormersError
from mindformers.parallel.command import portioned
from mindformers.parallel.compile_command import compile_plan, compiled_text
from mindformers.parallel.plan import make_plan
from mindformers.parallel.run_job import job_of

CONFIGS = Path(__file__).resolve().parents[1] / "configs"


def compiles(file: Path) -> bool:
    """Compile the job of one run file; says whether it came out as planned."""
    checked = check_file(file)
    job = job_of(checked.run)
    few = min(job.micro_batches, 2 * job.mesh.stage)
    plan = make_plan(portioned(job, few * job.batch * job.mesh.data))
    print(f"== {file}", flush=True)
    try:
        compiled = compile_plan(checked, plan, None, stages=True)
    except MindFormersError as error:
        print(error, flush=True)
        return False
    print(compiled_text(plan, compiled), flush=True)
    return all(item.as_planned for item in compiled)


def shipped() -> List[Path]:
    """Return the run files that describe several devices."""
    files = sorted(CONFIGS.rglob("run_*.yaml"))
    meshes = {file: check_file(file).run.parallel_config for file in files}
    return [file for file, ways in meshes.items() if ways.data_parallel * ways.model_parallel * ways.pipeline_stage > 1]


if __name__ == "__main__":
    results = [compiles(file) for file in map(Path, sys.argv[1:] or map(str, shipped()))]
    sys.exit(0 if all(results) else 1)
