"""The sizes that ship as ``configs/<folder>/model_config/<name>.yaml``, and the model that any YAML file describes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, Optional

from mindformers.config.check import check
from mindformers.config.layers import load
from mindformers.config.places import configs_folder, find_config, run_files
from mindformers.config.schema import RunConfig
from mindformers.config.source import shown
from mindformers.errors import ConfigError, Problem

YAML_ENDINGS = (".yaml", ".yml")
OF_A_RUN = "config.yaml"
"""What a run writes beside its weights."""
PROCESSOR_OPTIONS = ("max_length", "padding", "return_tensors")


@dataclass(frozen=True)
class DescribedModel:
    """What a YAML file says about a model."""

    file: Path
    run: RunConfig
    """The whole file, checked; sections that the file does not have hold their defaults."""
    config: Any
    """The family's configuration."""
    class_name: Optional[str]
    """The model class, None when the file leaves it open."""
    weights: Optional[str]
    """Name or path of the weights that the file names, None for none."""
    processor: Dict[str, Any]
    """`max_length`, `padding` and `return_tensors` of the section `processor`."""


def model_files() -> Dict[str, Path]:
    """Return name -> file of every shipped size."""
    return {file.stem: file for file in sorted(configs_folder().rglob("model_config/*.yaml"))}


def yaml_file(source: str) -> Optional[Path]:
    """Return the YAML file that `source` means: a path, or the name of a shipped size or run; None for anything else.

    Raises UnknownNameError for a path to a YAML file that does not exist.
    """
    if Path(source).suffix in YAML_ENDINGS:
        return find_config(source)
    return model_files().get(source) or run_files().get(source)


def read_model(file: Path) -> DescribedModel:
    """Return the model that a run file or a model_config file describes, through its bases and all checks.

    Raises ConfigError with every problem, or when the file has no model.model_config.
    """
    merged = load(file)
    section = merged.tree.get("processor")
    given = section if isinstance(section, dict) else {}
    processor = {key: given[key] for key in PROCESSOR_OPTIONS if key in given}
    run = check(merged).run
    if run.model.model_config is None:
        message = "missing; it says the family and its sizes, e.g. type: BertConfig"
        raise ConfigError([Problem("model.model_config", message, shown(file))])
    config, arch = run.model.model_config.options, run.model.arch
    if not hasattr(config, "arch"):
        message = f"'{run.model.model_config.type}' is no configuration of a family: it does not turn into an arch"
        raise ConfigError([Problem("model.model_config", message, merged.origin(("model", "model_config")))])
    weights = getattr(config, "checkpoint_name_or_path", None) or None
    return DescribedModel(file, run, config, arch.type if arch else None, weights, processor)
