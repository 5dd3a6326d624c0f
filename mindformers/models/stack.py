"""What the encoder, the decoder and the encoder-decoder have in common around their layers."""

from __future__ import annotations

from typing import Optional

import mindspore as ms
from mindspore import nn, ops

from mindformers.arch.paths import has_pooler
from mindformers.arch.stacks import StackArch, arch_problem
from mindformers.errors import UsageError
from mindformers.models.heads import HEADS
from mindformers.nn import functional
from mindformers.nn.dropout import DropoutNoise
from mindformers.nn.init import initialize
from mindformers.nn.linear import Linear


def check_arch(arch: StackArch) -> None:
    """Raise UsageError for choices or sizes that do not fit together."""
    problem = arch_problem(arch)
    if problem:
        raise UsageError(problem)


def complete(
    model: nn.Cell, arch: StackArch, num_layers: int, seed: Optional[int], fill: bool, param_dtype: str, dtype
) -> None:
    """Give a model with embeddings and layers its head, dropout counter and first weights, in evaluation mode.

    `seed` decides weights and dropout masks; by default the one of mindspore.set_seed, or 0. With `fill` False
    parameters stay zero, for a caller that loads all of them. `dtype` is what branches compute in.
    """
    model.arch, model.head_kind = arch, arch.head
    model.has_pooler = has_pooler(arch)
    if model.has_pooler:
        model.pooler = Linear(arch.hidden_size, arch.hidden_size)
    model.has_head = arch.head in HEADS
    model.takes_labels = False
    if model.has_head:
        model.head = HEADS[arch.head](arch, dtype)
        model.takes_labels = HEADS[arch.head].takes_labels
    model.seed = (ms.get_seed() or 0) if seed is None else seed
    # Also without dropout, so that a checkpoint fits the model whatever the rates of the next run are.
    model.dropout = DropoutNoise(arch, num_layers, model.seed)
    model.drops = max(*model.dropout.rates, arch.embedding_dropout, arch.classifier_dropout) > 0.0
    if param_dtype != "float32":
        dtype = functional.dtype_named(param_dtype)
        for parameter in model.trainable_params():
            parameter.set_dtype(dtype)
            if parameter.has_init:  # values that are made later would keep the type of before (MindSpore 2.10)
                parameter.init_mode.set_dtype(dtype)
    if fill:
        initialize(model, arch, model.seed)
    model.set_train(False)


def padding_bias(attention_mask_BS, input_ids_BS):
    """Return the bias of every key, float32 [B, 1, S, 1]; no mask means that every token counts."""
    if attention_mask_BS is None:
        attention_mask_BS = ops.ones_like(input_ids_BS)
    return functional.attention_bias(attention_mask_BS)
