"""mindformers: transformers on MindSpore, configured by YAML. Names are imported when they are first used."""

from __future__ import annotations

import importlib

__version__ = "0.4.0"

_EXPORTS = {
    "Trainer": "mindformers.trainer",
    "TrainingArguments": "mindformers.training_arguments",
    "MindFormerRegister": "mindformers.tools.register",
    "MindFormerModuleType": "mindformers.tools.register",
    "AutoConfig": "mindformers.models.auto",
    "AutoModel": "mindformers.models.auto",
    "AutoModelForQuestionAnswering": "mindformers.models.auto",
    "BertTokenizer": "mindformers.tokenizers.wordpiece",
}

__all__ = ["__version__", *_EXPORTS]


def __getattr__(name: str) -> object:
    if name not in _EXPORTS:
        raise AttributeError(f"module 'mindformers' has no attribute '{name}'")
    return getattr(importlib.import_module(_EXPORTS[name]), name)
