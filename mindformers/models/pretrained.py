"""What every model class of a family can do: come from weights on disk and go back to disk in Hugging Face's layout."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, ClassVar, Dict, Tuple, Type, TypeVar, Union

import mindspore as ms

from mindformers.errors import CheckpointError, OutputError
from mindformers.weights.find import find_weights
from mindformers.weights.mapping import WeightMap
from mindformers.weights.restore import LoadReport, load_weights
from mindformers.weights.writers import SHARD_BYTES, save_folder

CONFIG = "config.json"
Model = TypeVar("Model", bound="Pretrained")


class Pretrained:
    """Mixin of a cell: its family's config class, weight map and head; the cell is built from ``config.arch(head)``."""

    config_class: ClassVar[Any]
    weight_map: ClassVar[WeightMap]
    head_name: ClassVar[str]
    run_state: ClassVar[Tuple[str, ...]] = ("dropout.state",)
    """Parameters that belong to a training run and not to the weights."""
    is_base: ClassVar[bool] = False
    """Whether files of this class carry the names of the family's base model, without its prefix."""

    def __init__(self, config: Any, **options: Any):
        super().__init__(config.arch(self.head_name), compute_dtype=config.compute_dtype, **options)
        self.config = config

    @classmethod
    def from_pretrained(cls: Type[Model], source: Union[str, Path], new_head: bool = False) -> Model:
        """Return the model with the weights in a folder that has a config.json.

        `new_head` lets a head that the weights do not have start fresh. Raises CheckpointError with all mismatches.
        """
        folder = find_weights(str(source))
        config = cls.config_class.from_hf(read_config(folder))
        model = cls(config)
        model.load_report = load_weights(model, folder, cls.weight_map, ("head.*",) if new_head else ())
        model.set_train(False)
        return model

    load_report: LoadReport

    def save_pretrained(
        self, folder: Union[str, Path], max_shard_bytes: int = SHARD_BYTES, overwrite: bool = False
    ) -> None:
        """Write config.json and the weights so that Hugging Face loads them.

        Raises OutputError when the folder holds a model already and `overwrite` is false, or cannot be written.
        """
        target = Path(folder)
        held = sorted(item.name for item in target.glob("model*.safetensors*")) if target.is_dir() else []
        if held and not overwrite:
            raise OutputError(f"{target} holds {held[0]} already; choose another folder, or overwrite=True")
        try:
            target.mkdir(parents=True, exist_ok=True)
            for name in held:
                (target / name).unlink()
            (target / CONFIG).write_text(json.dumps(self._hf_config(), indent=2) + "\n", encoding="utf-8")
        except OSError as error:
            raise OutputError(f"{target}: cannot be written: {error.strerror or error}") from error
        parameters = {item.name: item for item in self.get_parameters() if item.name not in self.run_state}
        names = self.weight_map.export(parameters, base=self.is_base)
        save_folder(target, {name: parameters[path].asnumpy() for name, path in names.items()}, max_shard_bytes)

    def _hf_config(self) -> Dict[str, Any]:
        kinds = {ms.float32: "float32", ms.float16: "float16", ms.bfloat16: "bfloat16"}
        dtype = next(iter(self.get_parameters())).dtype
        return {"architectures": [type(self).__name__], **self.config.to_hf(), "torch_dtype": kinds[dtype]}


def read_config(folder: Path) -> Dict[str, Any]:
    """Return the config.json of a folder (or of the folder that a weight file lies in). Raises CheckpointError."""
    file = (folder if folder.is_dir() else folder.parent) / CONFIG
    try:
        values = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise CheckpointError(
            str(folder), [f"no {CONFIG}"], f"A model folder holds {CONFIG} and its weights."
        ) from None
    except (OSError, ValueError) as error:
        raise CheckpointError(str(file), [f"not readable: {error}"]) from error
    if not isinstance(values, dict):
        raise CheckpointError(str(file), ["does not hold an object"])
    return values
