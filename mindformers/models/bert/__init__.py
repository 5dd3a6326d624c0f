"""BERT (Devlin et al. 2019, arXiv:1810.04805). Importing the package loads nothing; names load when they are used."""

from __future__ import annotations

import importlib

_EXPORTS = {"BertConfig": "config", "BertModel": "model", "BertForQuestionAnswering": "model"}
__all__ = list(_EXPORTS)


def __getattr__(name: str) -> object:
    if name not in _EXPORTS:
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    return getattr(importlib.import_module(f"{__name__}.{_EXPORTS[name]}"), name)
