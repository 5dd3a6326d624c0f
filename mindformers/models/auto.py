"""Auto classes: the family is read from config.json, the head from the class that is asked."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any, ClassVar, List, Union

from mindformers.catalog import FAMILIES
from mindformers.errors import CheckpointError, UnknownNameError, UsageError
from mindformers.models.pretrained import read_config
from mindformers.registry import load_object
from mindformers.weights.find import find_weights


class AutoConfig:
    """The configuration of any family."""

    @staticmethod
    def from_pretrained(source: Union[str, Path]) -> Any:
        """Return the configuration in a folder with config.json. Raises CheckpointError or UnknownNameError."""
        return AutoConfig.from_hf(read_config(find_weights(str(source))))

    @staticmethod
    def from_hf(values: dict) -> Any:
        """Return the configuration that the content of a config.json describes."""
        model_type = values.get("model_type")
        if model_type is None:
            raise CheckpointError("config.json", ["model_type: missing"], f"Known: {', '.join(FAMILIES)}.")
        if model_type not in FAMILIES:
            raise UnknownNameError("model_type", str(model_type), FAMILIES)
        return load_object(f"{FAMILIES[model_type].package}.config:{FAMILIES[model_type].prefix}Config").from_hf(values)


def model_class(config: Any, suffix: str) -> Any:
    """Return a family's class for a head, e.g. suffix ``ForQuestionAnswering``. Raises UsageError when it has none."""
    family = FAMILIES[config.model_type]
    try:
        return getattr(importlib.import_module(family.package), family.prefix + suffix)
    except AttributeError:
        raise UsageError(f"{family.prefix} has no class {family.prefix + suffix}") from None


class AutoModel:
    """The base model of any family."""

    suffix: ClassVar[str] = "Model"

    @classmethod
    def from_pretrained(cls, source: Union[str, Path], new_head: bool = False) -> Any:
        """Return the model with the weights of a folder; see `Pretrained.from_pretrained`."""
        return model_class(AutoConfig.from_pretrained(source), cls.suffix).from_pretrained(source, new_head)

    @classmethod
    def from_config(cls, config: Any) -> Any:
        """Return the model of a configuration, freshly initialised."""
        return model_class(config, cls.suffix)(config)

    @classmethod
    def get_support_list(cls) -> List[str]:
        """Return the families that have this kind of model."""
        return [
            name
            for name, family in FAMILIES.items()
            if family.prefix + cls.suffix in importlib.import_module(family.package).__all__
        ]

    @classmethod
    def show_support_list(cls) -> None:
        """Print the families that have this kind of model."""
        print(f"{cls.__name__}: {', '.join(cls.get_support_list())}")


class AutoModelForQuestionAnswering(AutoModel):
    """The question-answering model of any family."""

    suffix = "ForQuestionAnswering"
