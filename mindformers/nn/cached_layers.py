"""The layers of a decoder while a text is written: with the keys and values of what stands already.

Shape suffixes: B rows, T new tokens, C capacity in tokens, N heads, D hidden.
"""

from __future__ import annotations

from mindspore import nn, ops

from mindformers.arch.stacks import StackArch
from mindformers.kernels import layers as kernels
from mindformers.kernels.attention import HALVES, INTERLEAVED, NO_ROTARY, Form
from mindformers.kernels.library import NOTHING
from mindformers.nn import functional
from mindformers.nn.kv_cache import KeyValueCache, slot_bias, slot_places
from mindformers.nn.linear import for_kernel


class CachedLayers(nn.Cell):
    """A decoder's `layers` and room for `capacity` tokens of each of `rows` rows in every one of them.

    Layers that attend to an encoder keep what they read of it too, for `source_capacity` tokens. With kernels of the
    CPU all layers, which are pre-norm blocks, are one operator.
    """

    def __init__(self, layers, arch: StackArch, rows: int, capacity: int, source_capacity: int = 0):
        super().__init__(auto_prefix=False)
        self.layers, self.capacity, self.source_capacity = layers, capacity, source_capacity
        dtype, scale = layers[0].dtype, layers[0].attention.scale
        stored = functional.stream_dtype(dtype)
        self.caches = _caches("cache", arch, rows, capacity, scale, stored, len(layers))
        self.memories = None
        if source_capacity:
            self.memories = _caches("memory", arch, rows, source_capacity, scale, stored, len(layers))
        self.kernel = None
        if functional.has_kernels(dtype):
            self.kernel = kernels.Layers(_form(arch, scale, capacity, source_capacity), dtype)

    def construct(self, x_BTD, slots_BT, score_bias=None, rotation=None, memory_bias=None):
        """Return x after all layers, [B, T, D], and keep its keys and values.

        slots as of `kv_cache.new_slots`; score_bias, what scores get beside the order of tokens, float32 [1 or B, N, 1
        or T, C]; memory_bias [B, 1, 1, source capacity].
        """
        if self.kernel is not None:
            cosines, sines = (NOTHING, NOTHING) if rotation is None else rotation
            biases = [NOTHING if bias is None else bias for bias in (score_bias, memory_bias)]
            return self.kernel(x_BTD, slots_BT, biases[0], cosines, sines, biases[1], self.weights())
        bias = slot_bias(slots_BT, self.capacity)
        if score_bias is not None:
            shape = (bias.shape[0], score_bias.shape[1], bias.shape[2], self.capacity)
            bias = ops.broadcast_to(bias, shape) + ops.broadcast_to(score_bias, shape)
        places = slot_places(slots_BT, self.caches[0].heads, self.capacity)
        for index, layer in enumerate(self.layers):
            if self.memories is None:
                x_BTD = layer.extend(x_BTD, self.caches[index], places, bias, rotation)
            else:
                x_BTD = layer.extend(x_BTD, self.caches[index], places, bias, self.memories[index], memory_bias)
        return x_BTD

    def remember(self, memory_BSD):
        """Keep what every layer reads of an encoder's output."""
        for index, layer in enumerate(self.layers):
            k_BKSH, v_BKSH = layer.cross.keys_values(memory_BSD, None)
            self.memories[index].fill(k_BKSH, v_BKSH)
        return memory_BSD

    def reorder(self, rows_B):
        """Make row i continue row rows_B[i]; the rows of a search share their source."""
        for cache in self.caches:
            cache.reorder(rows_B)
        return rows_B

    def weights(self):
        """Return what the kernel reads of all layers, in the order of csrc/layers.cc."""
        found = ()
        for index, layer in enumerate(self.layers):
            found += _attention_weights(layer.norm_attn, layer.attention, self.caches[index])
            if self.memories is not None:
                found += _cross_weights(layer.norm_cross, layer.cross, self.memories[index])
            found += _mlp_weights(layer.norm_mlp, layer.mlp)
        return found


def _caches(name, arch, rows, capacity, scale, dtype, number):
    """Return a cache for each of `number` attention layers."""
    made = nn.CellList([KeyValueCache(arch, rows, capacity, f"{name}.{i}", scale, dtype) for i in range(number)])
    made.update_parameters_name(f"{name}.")  # names that occur twice make MindSpore rename the model's parameters, too
    return made


def _form(arch: StackArch, scale: float, capacity: int, source_capacity: int) -> kernels.LayerForm:
    """Return what a layer is; order of tokens is part of it, so only some positions need a bias."""
    rotary = INTERLEAVED if arch.rotary.interleaved else HALVES
    return kernels.LayerForm(
        attention=Form(
            heads=arch.num_heads,
            kv_heads=arch.kv_heads,
            size=arch.head_size,
            scale=scale,
            has_score_bias=arch.positions in ("alibi", "relative"),
            rotary=rotary if arch.positions == "rotary" else NO_ROTARY,
        ),
        capacity=capacity,
        memory_capacity=source_capacity,
        is_centred=arch.norm == "layer_norm",
        eps=arch.norm_eps,
        qkv_bias=arch.qkv_bias,
        out_bias=arch.out_bias,
        mlp_bias=arch.mlp_bias,
        is_gated=arch.gated,
        activation=arch.activation,
    )


def _norm_weights(norm):
    return for_kernel(norm.weight), for_kernel(norm.bias) if hasattr(norm, "bias") else NOTHING


def _linear_weights(linear):
    return for_kernel(linear.weight), linear.bias_for_kernel()


def _attention_weights(norm, attention, cache):
    q, k, v = attention.q, attention.k, attention.v
    matrices = for_kernel(q.weight), for_kernel(k.weight), for_kernel(v.weight)
    biases = q.bias_for_kernel(), k.bias_for_kernel(), v.bias_for_kernel()
    return _norm_weights(norm) + matrices + biases + _linear_weights(attention.o) + (cache.keys, cache.values)


def _cross_weights(norm, attention, memory):
    return (
        _norm_weights(norm) + _linear_weights(attention.q) + _linear_weights(attention.o) + (memory.keys, memory.values)
    )


def _mlp_weights(norm, mlp):
    gate, gate_bias = _linear_weights(mlp.gate) if mlp.is_gated else (NOTHING, NOTHING)
    matrices = gate, for_kernel(mlp.up.weight), for_kernel(mlp.down.weight)
    return _norm_weights(norm) + matrices + (gate_bias, mlp.up.bias_for_kernel(), mlp.down.bias_for_kernel())
