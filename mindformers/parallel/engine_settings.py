"""What MindSpore's parallel compiler has to know of a job: arguments of `set_auto_parallel_context`."""

from __future__ import annotations

from typing import Any, Dict

from mindformers.parallel.job import Job

KILOBYTE = 1024


def engine_settings(job: Job, rank: int) -> Dict[str, Any]:
    """Return the settings for one rank of `job`.

    Operators that `rules.OPERATORS` names are placed, propagation places the others. Every process reads the batch of
    all devices, so losses are means over all of it, and gradients are added up and not averaged.
    """
    settings: Dict[str, Any] = {
        "parallel_mode": "auto_parallel",
        "search_mode": "sharding_propagation",
        "device_num": job.mesh.devices,
        "global_rank": rank,
        "pipeline_stages": job.mesh.stage,
        "full_batch": True,
        "gradients_mean": False,
        "enable_parallel_optimizer": job.shard_level > 0,
    }
    if job.shard_level:
        settings["parallel_optimizer_config"] = {
            "optimizer_level": f"level{job.shard_level}",
            "optimizer_weight_shard_size": -1 if job.shard_size is None else job.shard_size,
            "parallel_optimizer_threshold": job.shard_threshold // KILOBYTE,
        }
    if job.chunks > 1 or job.schedule != "1f1b":
        settings["pipeline_config"] = {"pipeline_interleave": True, "pipeline_scheduler": job.schedule}
    return settings
