"""What a run folder says of how its run was started, so that it can be understood and repeated."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import time
from importlib import metadata
from pathlib import Path
from typing import Any, Dict, Optional

from mindformers.parallel.context import ParallelContext

PACKAGES = ("mindformers", "mindspore", "numpy", "safetensors", "tokenizers", "sentencepiece")
ENVIRONMENT = ("MS_", "RANK", "DEVICE", "ASCEND", "HCCL", "GLOG", "OMP_", "MKL_", "PYTHONHASHSEED", "CUDA_VISIBLE")
"""Beginnings of the names of environment variables that change how a run computes."""


def about_start(context: ParallelContext) -> Dict[str, Any]:
    """Return command, versions, state of the code, device and environment of this process."""
    return {
        "started": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "command": [sys.executable, *sys.argv],
        "folder": os.getcwd(),
        "host": platform.node(),
        "process": os.getpid(),
        "python": platform.python_version(),
        "versions": {name: version for name in PACKAGES if (version := _version(name)) is not None},
        "code": code_state(Path(__file__).parent),
        "device": context.device_target,
        "ranks": context.num_ranks,
        "environment": {name: value for name, value in sorted(os.environ.items()) if name.startswith(ENVIRONMENT)},
    }


def code_state(folder: Path) -> Optional[Dict[str, Any]]:
    """Return the commit that `folder` is a checkout of and the files changed since; None outside of a checkout."""
    commit = _git(folder, "rev-parse", "HEAD")
    if commit is None:
        return None
    changed = _git(folder, "status", "--porcelain", "--untracked-files=no") or ""
    return {"commit": commit, "changed": [line[3:] for line in changed.splitlines()]}


def _git(folder: Path, *arguments: str) -> Optional[str]:
    try:
        result = subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return result.stdout.rstrip("\n") if result.returncode == 0 else None


def _version(package: str) -> Optional[str]:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
