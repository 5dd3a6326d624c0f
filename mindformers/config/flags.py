"""Command-line flags: one table from flag to configuration path. All three doors share it."""

from __future__ import annotations

import argparse
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, List, Optional, Sequence, Tuple

from mindformers.config.layers import override
from mindformers.config.settle import Raw
from mindformers.config.source import KeyPath, Layer
from mindformers.errors import UsageError

RUN_MODES = ("train", "finetune", "eval", "predict")


@dataclass(frozen=True)
class Flag:
    """One named flag."""

    name: str
    paths: Tuple[str, ...]
    """Dotted configuration paths that it sets; empty where code decides (see `layers_for`)."""
    about: str
    choices: Optional[Tuple[str, ...]] = None
    switch: bool = False
    """Whether the flag may stand without a value, meaning true."""


FLAGS: Tuple[Flag, ...] = (
    Flag("mode", ("context.mode",), "0: graph mode, 1: PyNative", ("0", "1")),
    Flag("device_id", ("context.device_id",), "device of this process"),
    Flag("device_target", ("context.device_target",), "auto, Ascend, GPU or CPU"),
    Flag("run_mode", ("run_mode",), "what to do", RUN_MODES),
    Flag("load_checkpoint", ("load_checkpoint",), "weights: a folder, a file or a name"),
    Flag("seed", ("seed",), "start of every random state"),
    Flag("use_parallel", ("use_parallel",), "run as one of several processes", switch=True),
    Flag("profile", ("profile",), "record the engine's profile", switch=True),
    Flag("output_dir", ("output_dir",), "folder of runs"),
    Flag("overwrite", ("overwrite",), "replace the newest run in output_dir", switch=True),
    Flag("resume", ("resume",), "continue the newest valid checkpoint in output_dir", switch=True),
    Flag("do_eval", ("do_eval",), "evaluate after every epoch of training", switch=True),
    Flag("eval_steps", ("eval_steps",), "evaluate every so many optimizer steps instead, with do_eval"),
    Flag("predict_data", ("predict_data",), "text, or a file with one text a line"),
    Flag("top_k", ("top_k",), "answers per input"),
    Flag("epochs", ("runner_config.epochs",), "passes over the data"),
    Flag("batch_size", ("runner_config.batch_size",), "samples per device and step"),
    Flag(
        "gradient_accumulation_steps",
        ("runner_config.gradient_accumulation_steps",),
        "portions of batch_size samples that one optimizer step takes",
    ),
    Flag("save_checkpoint_steps", ("runner_config.save_checkpoint_steps",), "optimizer steps between two checkpoints"),
    Flag("sink_mode", ("runner_config.sink_mode",), "hand whole epochs to the device", switch=True),
    Flag("num_samples", ("train_dataset.data_loader.num_samples", "eval_dataset.data_loader.num_samples"), "rows used"),
    Flag("train_dataset_dir", ("train_dataset.data_loader.dataset_dir",), "folder or file of training data"),
    Flag("eval_dataset_dir", ("eval_dataset.data_loader.dataset_dir",), "folder or file of evaluation data"),
    Flag("dataset_dir", (), "folder or file of the data that the run mode needs"),
)

AFTER_OPTIONS = ("dataset_dir", "predict_data", "epochs", "batch_size", "sink_mode", "num_samples")
"""Flags that beat --options; the others are beaten by it."""

_FREE = re.compile(r"^--([A-Za-z_]\w*(?:\.\w+)+)(?:=(.*))?$", re.DOTALL)


def add_run_flags(parser: argparse.ArgumentParser) -> None:
    """Add every named flag, --options and --register_path to a parser."""
    for flag in FLAGS:
        optional: Dict[str, Any] = {"nargs": "?", "const": "True"} if flag.switch else {}
        parser.add_argument(f"--{flag.name}", help=flag.about, choices=flag.choices, **optional)
    parser.add_argument(
        "--options",
        nargs="+",
        default=[],
        metavar="KEY.SUB=VALUE",
        help="set any key, e.g. --options optimizer.weight_decay=0.1",
    )
    parser.add_argument("--register_path", help="folder of Python files that register your own components")


def split_free(arguments: Sequence[str]) -> Tuple[List[str], List[str]]:
    """Return the arguments without ``--a.b=v`` / ``--a.b v``, and those as ``a.b=v``."""
    kept: List[str] = []
    free: List[str] = []
    items = list(arguments)
    while items:
        item = items.pop(0)
        match = _FREE.match(item)
        if match is None:
            kept.append(item)
            continue
        value = match.group(2)
        if value is None:
            if not items or items[0].startswith("--"):
                raise UsageError(f"{item} needs a value: {item}=VALUE")
            value = items.pop(0)
        free.append(f"{match.group(1)}={value}")
    return kept, free


def layers_for(arguments: argparse.Namespace, free: Sequence[str] = ()) -> List[Layer]:
    """Return the layers of the flags that were given, in their order of precedence (later ones win)."""
    given = [flag for flag in FLAGS if getattr(arguments, flag.name, None) is not None]
    early = [flag for flag in given if flag.name not in AFTER_OPTIONS]
    late = [flag for flag in given if flag.name in AFTER_OPTIONS]
    layers = [layer for flag in early for layer in _flag_layers(flag, arguments)]
    layers += [option_layer(text) for text in (*arguments.options, *free)]
    return layers + [layer for flag in late for layer in _flag_layers(flag, arguments)]


def _flag_layers(flag: Flag, arguments: argparse.Namespace) -> List[Layer]:
    text = getattr(arguments, flag.name)
    paths = flag.paths
    if flag.name == "dataset_dir":
        paths = dataset_paths(text, arguments.run_mode)
    return [override(tuple(path.split(".")), Raw(text), f"--{flag.name}") for path in paths]


def dataset_paths(dataset_dir: str, run_mode: Optional[str] = None) -> Tuple[str, ...]:
    """Return the paths that --dataset_dir sets: both datasets for a folder; one file belongs to the mode's own."""
    train, evaluation = "train_dataset.data_loader.dataset_dir", "eval_dataset.data_loader.dataset_dir"
    if Path(dataset_dir).is_file():
        return (evaluation,) if run_mode == "eval" else (train,)
    return train, evaluation


def option_layer(text: str) -> Layer:
    """Return the layer of one ``a.b=value``; raises UsageError for anything else."""
    key, equals, value = text.partition("=")
    if not equals or not re.match(r"^\w+(\[\d+\])*(\.\w+(\[\d+\])*)*$", key):
        raise UsageError(f"--options {text}: write KEY.SUB=VALUE, e.g. optimizer.weight_decay=0.1")
    path: KeyPath = tuple(re.findall(r"\w+", key))
    return override(path, None if value in ("null", "~") else Raw(value), f"--options {key}")
