"""Names of a package that are imported when they are first used, so that importing the package costs nothing."""

from __future__ import annotations

import importlib
from typing import Any, Callable, List, Tuple


def exports(package: str, **names: List[str]) -> Tuple[Callable[[str], Any], List[str]]:
    """Return ``__getattr__`` and ``__all__`` for a package's __init__; `names` is submodule=[its public names]."""
    owner = {name: module for module, group in names.items() for name in group}

    def get(name: str) -> Any:
        if name not in owner:
            raise AttributeError(f"module '{package}' has no attribute '{name}'")
        return getattr(importlib.import_module(f"{package}.{owner[name]}"), name)

    return get, list(owner)
