"""`Trainer(task=..., model=...)`: the same runs from Python. It only gathers configuration layers and calls `run`."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Dict, List, Optional, Sequence, Union

from mindspore import nn

from mindformers.build import Given
from mindformers.catalog import REGISTRY, TASKS
from mindformers.config.check import Checked, check_file, check_layers
from mindformers.config.explain import explain
from mindformers.config.layers import override
from mindformers.config.places import find_config
from mindformers.config.source import Layer, from_dict
from mindformers.errors import CheckpointError, OutputError, UsageError
from mindformers.models.auto import AutoConfig, class_name
from mindformers.models.hf_config import OF_OUTPUTS, RUN_FIELDS
from mindformers.registry import MindFormerModuleType as Type
from mindformers.run import run
from mindformers.runners import folders
from mindformers.training_arguments import TrainingArguments

CALLER = "Trainer"


class Trainer:
    """Train, evaluate and predict with one task.

    Args:
        args: a run file or run name, a dict of configuration keys, or `TrainingArguments`.
        task: task name, see ``mindformers list tasks``.
        model: a name of ``mindformers list models``, a Hugging Face folder, or a cell of your own.
        train_dataset, eval_dataset: a folder or file in the task's format, or rows of your own.
        tokenizer: replaces the tokenizer that the weights or the configuration bring.
        callbacks: MindSpore callbacks, called after the configured ones.
        compute_metrics: a `mindspore.train.Metric` in place of the task's own.

    Raises:
        UnknownNameError: for an unknown task or model, with the nearest names.
        UsageError: for arguments that do not fit together.
    """

    def __init__(
        self,
        args: Union[None, str, Dict[str, Any], TrainingArguments] = None,
        task: str = "general",
        model: Union[None, str, nn.Cell] = None,
        train_dataset: Any = None,
        eval_dataset: Any = None,
        tokenizer: Any = None,
        callbacks: Optional[Sequence[Any]] = None,
        compute_metrics: Any = None,
    ):
        self.task = REGISTRY.canonical(Type.TRAINER, task)
        self._model_folder: Optional[str] = None
        self._file, self._layers = self._base(args, model)
        self._given: Dict[str, Any] = {
            "callbacks": list(callbacks or ()),
            "tokenizer": tokenizer,
            "metric": compute_metrics,
            "model": model if isinstance(model, nn.Cell) else None,
        }
        for name, data in (("train_dataset", train_dataset), ("eval_dataset", eval_dataset)):
            if isinstance(data, (str, Path)):
                self._set(f"{name}.data_loader.dataset_dir", str(data))
            elif data is not None:
                self._given[name] = data
        self._checked("train")  # a wrong configuration is reported when it is made, not when it is used

    def train(
        self,
        resume_or_finetune_from_checkpoint: Union[None, bool, str] = None,
        initial_epoch: int = 0,
        do_eval: bool = False,
        do_finetune: bool = False,
    ) -> Any:
        """Train; returns the scores of the last evaluation, if there was one.

        `resume_or_finetune_from_checkpoint`: True takes the newest checkpoint of the output folder, text names weights.
        With `do_finetune` only weights are loaded and training starts at step 0; else the whole state is resumed.
        """
        layers = self._weights(resume_or_finetune_from_checkpoint, own=do_finetune)
        if initial_epoch:
            layers.append(override(("runner_config", "initial_epoch"), initial_epoch, CALLER))
        if do_eval:
            layers.append(override(("do_eval",), True, CALLER))
        return self._run("finetune" if do_finetune else "train", layers)

    def evaluate(self, eval_checkpoint: Union[bool, str] = False) -> Dict[str, Any]:
        """Score weights: True takes the newest checkpoint of output_dir, False the model's own, text names them."""
        return self._run("eval", self._weights(eval_checkpoint))

    def predict(
        self, predict_checkpoint: Union[None, bool, str] = None, input_data: Any = None, top_k: int = 1
    ) -> List[Any]:
        """Return one result per input of `input_data`; `predict_checkpoint` as in `evaluate`."""
        if input_data is None:
            raise UsageError("Trainer.predict needs input_data: one input or a list of them")
        layers = [*self._weights(predict_checkpoint), override(("top_k",), top_k, CALLER)]
        return self._run("predict", layers, predict_data=input_data)

    def add_callback(self, callback: Any) -> None:
        """Call `callback` in the trainings to come."""
        self._given["callbacks"].append(callback)

    def set_parallel_config(self, **options: Any) -> None:
        """Set keys of `parallel_config`."""
        self._set_section("parallel_config", options)

    def set_recompute_config(self, **options: Any) -> None:
        """Set keys of `recompute_config`."""
        self._set_section("recompute_config", options)

    def set_moe_config(self, **options: Any) -> None:
        """Set keys of `moe_config`."""
        self._set_section("moe_config", options)

    def get_last_checkpoint(self) -> Optional[str]:
        """Return the newest valid checkpoint of the output folder, None when there is none."""
        try:
            run_config = self._checked("train").run
            root = folders.output_root(run_config.output_dir)
            return str(folders.newest_checkpoint(root, model_name=run_config.trainer.model_name))
        except CheckpointError:
            return None

    def save_config(self, file: Union[str, Path]) -> Path:
        """Write the whole configuration with origins to a new YAML file; raises OutputError if it exists."""
        path = Path(file)
        if path.exists():
            raise OutputError(f"{path} exists already; choose another name")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(explain(self._checked("train"), defaults=True) + "\n", encoding="utf-8")
        return path

    def _base(self, args: Any, model: Any) -> Any:
        """Return the run file to start from and the layers that the arguments put on top."""
        layers = [override(("trainer", "type"), self.task, CALLER)]
        file = args if isinstance(args, (str, Path)) else None
        if isinstance(args, dict):
            layers.append(from_dict(args, f"{CALLER}(args)"))
        elif isinstance(args, TrainingArguments):
            layers += args.layers()
        elif args is not None and file is None:
            raise UsageError(f"Trainer(args={args!r}): give a run file, a dict or TrainingArguments")
        if isinstance(model, (str, Path)):
            if (Path(model) / "config.json").is_file():
                self._model_folder = str(model)
                layers.append(self._folder_layer(Path(model)))
            else:
                file = file or model
        default = TASKS[self.task].default_model if self.task in TASKS else None
        if file is None and default is None and not isinstance(args, dict):
            raise UsageError(f"Trainer(task='{self.task}') needs args (a run file) or the name of a model")
        file = file or default
        return find_config(str(file)) if file else None, layers

    def _folder_layer(self, folder: Path) -> Layer:
        """Return the model section that a Hugging Face folder describes."""
        config = AutoConfig.from_pretrained(folder)
        head = TASKS[self.task].head if self.task in TASKS else ""
        of_run = RUN_FIELDS - OF_OUTPUTS  # what config.json does not say must not stand above what the caller says
        options = {key: value for key, value in vars(config).items() if value is not None and key not in of_run}
        section = {
            "arch": {"type": class_name(config, head)},
            "model_config": {"type": type(config).__name__, **options},
        }
        return from_dict({"model": section}, str(folder / "config.json"))

    def _weights(self, source: Union[None, bool, str], own: bool = True) -> List[Layer]:
        """Return the layer that names the weights; `own`: those of the model's folder where nothing else is asked."""
        if source is True:
            return [override(("resume",), True, CALLER)]
        if source:
            return [override(("load_checkpoint",), str(source), CALLER)]
        return [override(("load_checkpoint",), self._model_folder, CALLER)] if own and self._model_folder else []

    def _set(self, path: str, value: Any) -> None:
        self._layers.append(override(tuple(path.split(".")), value, CALLER))

    def _set_section(self, section: str, options: Dict[str, Any]) -> None:
        for key, value in options.items():
            self._set(f"{section}.{key}", value)
        self._checked("train")

    def _checked(self, run_mode: str, layers: Sequence[Layer] = ()) -> Checked:
        all_layers = [*self._layers, *layers, override(("run_mode",), run_mode, CALLER)]
        if self._file is None:
            return check_layers(all_layers)
        return check_file(self._file, all_layers)

    def _run(self, run_mode: str, layers: List[Layer], **given: Any) -> Any:
        return run(self._checked(run_mode, layers), Given(**{**self._given, **given}))
