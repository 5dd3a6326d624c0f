"""What makes a run the same run after it was stopped, and which differences its user may allow."""

from __future__ import annotations

import hashlib
from typing import Any, Dict, Sequence

import numpy as np

from mindformers.config.schema import RunConfig
from mindformers.data.loader import FeatureSet, gather
from mindformers.errors import UsageError, listing
from mindformers.log import logger
from mindformers.runners.session import Data

SAMPLED_ROWS = 256
"""Rows of a dataset, evenly spread, whose content tells it from another one."""


def identity(config: RunConfig, data: Data) -> Dict[str, Any]:
    """Return what decides which rows every step sees, by the names that `resume_allow` takes, as JSON holds it."""
    return {
        "batch_size": data.rows_per_step,
        "seed": [config.seed, data.train_portions.seed],
        "data": fingerprint(data.train),
    }


def fingerprint(features: FeatureSet) -> str:
    """Return a digest of the number of rows, the columns, and the content of `SAMPLED_ROWS` rows."""
    digest = hashlib.sha256(str(len(features)).encode())
    rows = np.unique(np.linspace(0, len(features) - 1, SAMPLED_ROWS).astype(np.int64))
    for name, values in zip(features.columns, gather(features, rows)):
        digest.update(f"{name} {values.dtype} {values.shape}".encode())
        digest.update(np.ascontiguousarray(values).tobytes())
    return digest.hexdigest()[:16]


def check_identity(saved: Dict[str, Any], now: Dict[str, Any], allowed: Sequence[str], run: str) -> None:
    """Refuse to continue `run` with other rows a step than it had, but for what `allowed` names.

    Raises:
        UsageError: naming every difference with both values.
    """
    changed = {
        name: f"{name} was {saved[name]} and is {now[name]}" for name in now if saved.get(name, now[name]) != now[name]
    }
    for name in [name for name in changed if name in allowed]:
        logger.warning("%s, as resume_allow permits: losses may differ from a run without a stop", changed[name])
    refused = [line for name, line in changed.items() if name not in allowed]
    if refused:
        names = ", ".join(name for name in changed if name not in allowed)
        raise UsageError(
            listing(f"{run} cannot be continued:", refused)
            + f"\nUse the same values, allow the change with --options 'resume_allow=[{names}]', "
            "or --run_mode finetune to start anew from these weights"
        )
