"""A plan as plain data, for JSON; docs/parallel.md says what the keys mean."""

from __future__ import annotations

import dataclasses
from typing import Any, Dict

from mindformers.parallel.mesh import GROUPS
from mindformers.parallel.placement import Placement
from mindformers.parallel.plan import Plan
from mindformers.parallel.search import Found, alternatives

FORMAT = 1
"""Version of the data; it changes when a key changes its meaning or goes away."""


def plan_data(plan: Plan) -> Dict[str, Any]:
    """Return a plan; memory and communication in bytes."""
    job, mesh = plan.job, plan.job.mesh
    choices = {
        item.name: getattr(job, item.name) for item in dataclasses.fields(job) if item.name not in ("arch", "mesh")
    }
    return {
        "format": FORMAT,
        "mesh": {**dataclasses.asdict(mesh), "devices": mesh.devices},
        "ranks": [dataclasses.asdict(mesh.place(rank)) for rank in range(mesh.devices)],
        "groups": {kind: mesh.groups(kind) for kind in GROUPS},
        "job": {**choices, "global_batch": job.global_batch},
        "parameters": [_placement(placement) for placement in plan.placements],
        "stages": [
            {
                "ranks": list(mesh.stage_ranks(stage)),
                "layers": plan.pipeline.layers[stage],
                "work": plan.pipeline.work[stage],
                "memory": {**dataclasses.asdict(plan.memory[stage]), "total": plan.memory[stage].total},
                "communication": [dataclasses.asdict(item) for item in plan.communication[stage]],
            }
            for stage in range(mesh.stage)
        ],
        "pipeline": {"bubble": plan.pipeline.bubble, "idle": plan.pipeline.idle},
        "flops": dataclasses.asdict(plan.flops),
        "device_memory": plan.device_memory,
        "fits": plan.fits,
    }


def search_data(found: Found, plan: Plan) -> Dict[str, Any]:
    """Return what a search found, and the plan that it proposes."""
    shown = [
        {
            "mesh": dataclasses.asdict(item.job.mesh),
            "batch": item.job.batch,
            "micro_batches": item.job.micro_batches,
            "recompute": item.job.recompute,
            "shard_level": item.job.shard_level,
            "splits_sequence": item.job.splits_sequence,
            "seconds": dataclasses.asdict(item.time),
            "memory": item.bytes,
        }
        for item in alternatives(found)
    ]
    search = {"tried": found.tried, "fit": len(found.candidates), "reasons": list(found.reasons), "best": shown}
    return {"search": search, **plan_data(plan)}


def _placement(placement: Placement) -> Dict[str, Any]:
    return {
        "path": placement.path,
        "shape": placement.shape,
        "axes": placement.axes,
        "slice": placement.slice_shape,
        "stored": placement.stored_shape,
        "shards": placement.shards,
        "stages": placement.stages,
    }
