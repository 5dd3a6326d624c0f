"""What every model class of a family can do: come from weights on disk and go back to disk in Hugging Face's layout."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, Dict, List, Optional, Tuple, Type, TypeVar, Union

import mindspore as ms
import numpy as np

from mindformers.errors import UsageError
from mindformers.models.hf_config import INT8
from mindformers.nn import functional
from mindformers.nn.quantize import is_quantized, quantize
from mindformers.registry import load_object
from mindformers.weights.find import find_weights
from mindformers.weights.folder import CONFIG, read_config
from mindformers.weights.layout import join, joined_shape
from mindformers.weights.mapping import Step, WeightMap
from mindformers.weights.restore import NEW_HEAD, LoadReport, load_weights
from mindformers.weights.stored import DTYPES, StoredTensor, halved
from mindformers.weights.writers import SHARD_BYTES, save_json, save_tensors, whole_folder

DTYPE_NAMES = {dtype: name for name, dtype in functional.DTYPES.items()}
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
        types = {"compute_dtype": config.compute_dtype, "param_dtype": config.param_init_type}
        super().__init__(config.arch(self.head_name), **types, **options)
        self.config = config

    @classmethod
    def from_pretrained(
        cls: Type[Model],
        source: Union[str, Path],
        new_head: bool = False,
        dtype: str = "float32",
        adapter: Optional[Union[str, Path]] = None,
        compute_dtype: str = "float32",
    ) -> Model:
        """Return the model with the weights in a folder that has a config.json.

        `new_head` lets a head that the weights do not have start fresh; `dtype` is the type of the weights in memory,
        whatever it is in the file, `compute_dtype` that of activations. With "int8", for models that only write text,
        matrices are rows of int8 (nn.quantize) and what is left is bfloat16. `adapter` is a folder in PEFT's layout,
        whose LoRA is added to the weights. Raises CheckpointError with all mismatches, UsageError when there is no such
        adapter or nothing that computes with int8.
        """
        folder = find_weights(str(source))
        config = cls.config_class.from_hf(read_config(folder)).typed(dtype, compute_dtype)
        return cls(config, fill=new_head).filled(folder, new_head, adapter, dtype)

    def filled(
        self: Model, folder: Path, new_head: bool, adapter: Optional[Union[str, Path]], dtype: Optional[str]
    ) -> Model:
        """Return the model itself with the weights of a folder or file; arguments, errors as of `from_pretrained`."""
        new = NEW_HEAD if new_head else ()
        self.load_report = load_weights(self, folder, self.weight_map, new, adapter)
        self.source = folder
        self.set_train(False)
        if dtype == INT8:
            quantize(self)
        return self

    load_report: LoadReport
    source: Path
    """Where the weights of `from_pretrained` lie."""

    def generate(self, *inputs: Any, **options: Any) -> Any:
        """Write text; see `mindformers.generation.generate.generate`."""
        return load_object("mindformers.generation.generate:generate")(self, *inputs, **options)

    def save_pretrained(
        self, folder: Union[str, Path], max_shard_bytes: int = SHARD_BYTES, overwrite: bool = False
    ) -> None:
        """Write config.json and the weights so that Hugging Face loads them.

        Raises OutputError when the folder holds a model already and `overwrite` is false, or cannot be written,
        UsageError for a model of int8.
        """
        if is_quantized(self):
            raise UsageError(
                f"{type(self).__name__}.save_pretrained: the weights are rounded to int8, which no file has; "
                f"save what from_pretrained returns with another dtype"
            )
        parameters = {item.name: item for item in self.get_parameters() if item.name not in self.run_state}
        tensors = {}
        for step in self.weight_map.export(list(parameters), base=self.is_base):
            tensors[step.theirs] = self._stored(step, [parameters[path] for path in step.paths])
        with whole_folder(Path(folder), overwrite, CONFIG) as place:
            save_tensors(place, tensors, shard_bytes=max_shard_bytes)
            save_json(place / CONFIG, self.hf_config())

    def _stored(self, step: Step, parts: List[ms.Parameter]) -> StoredTensor:
        """Return a tensor of the file, which is made when it is written; bfloat16 as its 16-bit words."""
        is_half = parts[0].dtype == ms.bfloat16

        def read() -> np.ndarray:
            arrays = [(part.astype(ms.float32) if is_half else part).asnumpy() for part in parts]
            joined = join(step, arrays, self.arch.num_heads)
            return halved(joined) if is_half else joined

        return StoredTensor(DTYPES[DTYPE_NAMES[parts[0].dtype]], joined_shape(step, parts[0].shape), read)

    def hf_config(self) -> Dict[str, Any]:
        """Return the content of config.json as Hugging Face reads it."""
        dtype = next(iter(self.get_parameters())).dtype
        return {"architectures": [type(self).__name__], **self.config.to_hf(), "torch_dtype": DTYPE_NAMES[dtype]}
