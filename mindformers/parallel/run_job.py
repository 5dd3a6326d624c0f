"""The job of a checked configuration, with the head that its class or the family's published number has."""

from __future__ import annotations

from pathlib import Path

from mindformers.config.model_files import DescribedModel
from mindformers.config.parallel_job import arch_of, parallel_job
from mindformers.config.schema import RunConfig
from mindformers.errors import UsageError
from mindformers.listing import counted_head
from mindformers.parallel.job import Job


def job_of(run: RunConfig) -> Job:
    """Return the job of a run; raises UsageError without a described model."""
    model = run.model.model_config
    if model is None or arch_of(run, "none") is None:
        raise UsageError("a plan needs model.model_config with the type of a family, e.g. GPT2Config, and its sizes")
    described = DescribedModel(Path(), run, model.options, run.model.arch.type if run.model.arch else None, None, {})
    return parallel_job(run, model.options.arch(counted_head(described)))
