"""Compile the shipped run files of several devices with MindSpore's parallel compiler, one rank of each stage.

Usage: python scripts/compile_layouts.py [--rank R] [RUN_FILE ...]; needs no accelerators. Prints a line when a rank is
compiled. Jobs are compiled with at most twice as many micro-batches as stages: every further one repeats the same
calls. Ends with 1 when a job does not compile or differs from its plan.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import List, Optional

from mindformers.config.check import check_file
from mindformers.errors import MindFormersError
from mindformers.parallel.command import portioned
from mindformers.parallel.compile_command import compile_plan, compiled_text
from mindformers.parallel.plan import make_plan
from mindformers.parallel.run_job import job_of

CONFIGS = Path(__file__).resolve().parents[1] / "configs"


def compiles(file: Path, rank: Optional[int]) -> bool:
    """Compile one rank of each stage of a run file's job, or `rank` alone; says whether all came out as planned."""
    checked = check_file(file)
    job = job_of(checked.run)
    few = min(job.micro_batches, 2 * job.mesh.stage)
    plan = make_plan(portioned(job, few * job.batch * job.mesh.data))
    mesh = plan.job.mesh
    title = f"{file.stem}: {mesh.devices} devices, {mesh.data} x {mesh.tensor} x {mesh.stage}, {few} micro-batches"
    good = True
    for number in [mesh.stage_ranks(stage)[0] for stage in range(mesh.stage)] if rank is None else [rank]:
        try:
            (found,) = compile_plan(checked, plan, number, stages=False)
        except MindFormersError as error:
            print(f"{title}: {error}", flush=True)
            good = False
            continue
        calls = sum(count for _, _, _, count in found.operations)
        size = f"{found.seconds:.0f} s, {found.memory / 2**30:.1f} GiB, {calls} operations of communication"
        print(f"{title}, rank {number}: {size}, {'as planned' if found.as_planned else 'differs'}", flush=True)
        if not found.as_planned:
            print(compiled_text(plan, [found]), flush=True)
        good = good and found.as_planned
    return good


def shipped() -> List[Path]:
    """Return the run files that describe several devices."""
    files = sorted(CONFIGS.rglob("run_*.yaml"))
    meshes = {file: check_file(file).run.parallel_config for file in files}
    return [file for file, ways in meshes.items() if ways.data_parallel * ways.model_parallel * ways.pipeline_stage > 1]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rank", type=int, help="the only rank to compile of each job")
    parser.add_argument("files", type=Path, nargs="*", metavar="RUN_FILE")
    given = parser.parse_args()
    results = [compiles(file, given.rank) for file in given.files or shipped()]
    sys.exit(0 if all(results) else 1)
