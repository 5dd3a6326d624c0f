"""What the tests of cells share: formulas in float64 NumPy, written from the papers, and the comparison with a cell."""

import math

import mindspore as ms
import numpy as np
import pytest
from mindspore import Tensor, ops

from mindformers.arch.stacks import EncoderDecoderArch
from mindformers.kernels import library
from tests.parity.tolerances import CELL, CELL_GRADIENT

RNG = np.random.default_rng(1)
START = RNG.bit_generator.state
HIDDEN = -1e30
"""Bias of a pair that must not count."""


@pytest.fixture(autouse=True)
def same_numbers():
    """Give every test the same random numbers, whichever tests run before it."""
    RNG.bit_generator.state = START


@pytest.fixture(autouse=True)
def operators(monkeypatch):
    """Make cells of MindSpore's operators, as without kernels; those are compared with them in tests/kernels."""
    monkeypatch.setattr(library, "find", lambda: None)


@pytest.fixture(params=[ms.GRAPH_MODE, ms.PYNATIVE_MODE], ids=["graph", "pynative"])
def mode(request):
    before = ms.get_context("mode")
    ms.set_context(mode=request.param)
    yield request.param
    ms.set_context(mode=before)


def normal(*shape):
    return RNG.standard_normal(shape).astype(np.float32)


def fill(cell):
    """Give every trained parameter random values and return them by path, in float64."""
    values = {}
    for path, parameter in cell.parameters_and_names():
        if parameter.requires_grad:
            parameter.set_data(Tensor(normal(*parameter.shape) * 0.5))
            values[path] = parameter.asnumpy().astype(np.float64)
    return values


def distance(tensor, reference):
    assert tensor.shape == np.shape(reference)
    found = tensor.asnumpy().astype(np.float64)
    assert np.isfinite(found).all()
    return float(np.abs(found - reference).max())


def differences(f, x, step=1e-5):
    """Return the gradient of the scalar f at x by central differences, in float64."""
    gradient = np.zeros_like(x)
    for index in np.ndindex(*x.shape):
        up, down = x.copy(), x.copy()
        up[index] += step
        down[index] -= step
        gradient[index] = (f(up) - f(down)) / (2 * step)
    return gradient


def check(cell, reference, *inputs, by=None, values=None):
    """Assert that a cell is reference(parameters, *inputs), and its gradients the central differences of that.

    `by` are the places of the inputs whose gradient is compared: by default those of floats. Inputs may be None;
    `values` are the parameters' when they are set already.
    """
    values = fill(cell) if values is None else values
    if by is None:
        by = tuple(i for i, value in enumerate(inputs) if value is not None and value.dtype == np.float32)
    wide = [None if x is None else x.astype(np.float64) if x.dtype == np.float32 else x for x in inputs]
    expected = np.asarray(reference(values, *wide))
    weights = np.ones(()) if expected.ndim == 0 else normal(*expected.shape).astype(np.float64)
    spread = Tensor(weights.astype(np.float32))

    def weighted(*tensors):
        out = cell(*tensors)
        return (out * spread).sum(), out

    tensors = [None if x is None else Tensor(x) for x in inputs]
    parameters = {path: item for path, item in cell.parameters_and_names() if item.requires_grad}
    if not by and not parameters:
        assert distance(cell(*tensors), expected) < CELL
        return
    transformed = ops.value_and_grad(weighted, by or None, list(parameters.values()) or None, has_aux=True)
    (_, out), grads = transformed(*tensors)
    assert distance(out, expected) < CELL
    by_input, by_parameter = grads if by and parameters else (grads, ()) if by else ((), grads)
    by_input = by_input if isinstance(by_input, (tuple, list)) else (by_input,)
    for place, grad in zip(by, by_input):

        def changed_input(value, place=place):
            return (reference(values, *wide[:place], value, *wide[place + 1 :]) * weights).sum()

        assert distance(grad, differences(changed_input, wide[place])) < CELL_GRADIENT, f"input {place}"
    for path, grad in zip(parameters, by_parameter):

        def changed_parameter(value, path=path):
            return (reference({**values, path: value}, *wide) * weights).sum()

        assert distance(grad, differences(changed_parameter, values[path])) < CELL_GRADIENT, path


erf = np.vectorize(math.erf)
ACTIVATIONS = {
    "gelu": lambda x: x * 0.5 * (1 + erf(x / math.sqrt(2))),
    "gelu_tanh": lambda x: 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))),
    "quick_gelu": lambda x: x / (1 + np.exp(-1.702 * x)),
    "relu": lambda x: np.maximum(x, 0),
    "silu": lambda x: x / (1 + np.exp(-x)),
}


def softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def cross_entropy(logits, labels, ignored):
    """Mean negative log-likelihood over the last dimension; 0 when every label is ignored."""
    probabilities, labels = softmax(logits).reshape(-1, logits.shape[-1]), labels.reshape(-1)
    rows = np.flatnonzero(labels != ignored)
    return np.float64(0) if rows.size == 0 else -np.log(probabilities[rows, labels[rows]]).mean()


def dense(p, path, x):
    return x @ p[f"{path}.weight"].T + p.get(f"{path}.bias", 0.0)


def layer_norm(x, weight, bias, eps):
    mean = x.mean(-1, keepdims=True)
    return (x - mean) / np.sqrt(((x - mean) ** 2).mean(-1, keepdims=True) + eps) * weight + bias


def rms_norm(x, weight, eps):
    return x / np.sqrt((x**2).mean(-1, keepdims=True) + eps) * weight


def norm(p, path, arch, x):
    if arch.norm == "rms_norm":
        return rms_norm(x, p[f"{path}.weight"], arch.norm_eps)
    return layer_norm(x, p[f"{path}.weight"], p[f"{path}.bias"], arch.norm_eps)


def feed_forward(p, path, arch, x):
    act, up = ACTIVATIONS[arch.activation], dense(p, f"{path}up", x)
    return dense(p, f"{path}down", act(dense(p, f"{path}gate", x)) * up if arch.gated else act(up))


def attend(q, k, v, bias=0.0, scale=None, kept=1.0):
    """softmax(scale q k^T + bias) v, for [B, N, T or S, H] and a bias spread over [B, N, T, S]."""
    scale = 1 / math.sqrt(q.shape[-1]) if scale is None else scale
    return softmax(scale * q @ k.swapaxes(-1, -2) + bias) * kept @ v


def rotate(x, positions, theta, interleaved):
    """Equation 15 of arXiv:2104.09864, pair by pair: x [B, N, T, H], positions [B, T]."""
    size, turned = x.shape[-1], np.zeros_like(x)
    for pair in range(size // 2):
        a, b = (2 * pair, 2 * pair + 1) if interleaved else (pair, pair + size // 2)
        angle = (positions * float(theta) ** (-2 * pair / size))[:, None]
        turned[..., a] = x[..., a] * np.cos(angle) - x[..., b] * np.sin(angle)
        turned[..., b] = x[..., a] * np.sin(angle) + x[..., b] * np.cos(angle)
    return turned


def multi_head(p, path, arch, x, source, bias, positions=None):
    """Attention of x [B, T, D] to source [B, S, D]; with positions, rotary."""

    def heads(name, y, count):
        return dense(p, f"{path}{name}", y).reshape(*y.shape[:2], count, arch.head_size).transpose(0, 2, 1, 3)

    q, k = heads("q", x, arch.num_heads), heads("k", source, arch.kv_heads)
    if positions is not None:
        q, k = (rotate(y, positions, arch.rotary.theta, arch.rotary.interleaved) for y in (q, k))
    owner = [head * arch.kv_heads // arch.num_heads for head in range(arch.num_heads)]
    scale = None if arch.scales_scores else 1.0
    context = attend(q, k[:, owner], heads("v", source, arch.kv_heads)[:, owner], bias, scale)
    return dense(p, f"{path}o", context.transpose(0, 2, 1, 3).reshape(*x.shape[:2], -1))


def post_norm_block(p, path, arch, x, bias):
    x = norm(p, f"{path}norm_attn", arch, x + multi_head(p, f"{path}attention.", arch, x, x, bias))
    return norm(p, f"{path}norm_mlp", arch, x + feed_forward(p, f"{path}mlp.", arch, x))


def pre_norm_block(p, path, arch, x, bias, positions=None, memory=None, memory_bias=None):
    normed = norm(p, f"{path}norm_attn", arch, x)
    x = x + multi_head(p, f"{path}attention.", arch, normed, normed, bias, positions)
    if memory is not None:
        x = x + multi_head(p, f"{path}cross.", arch, norm(p, f"{path}norm_cross", arch, x), memory, memory_bias)
    return x + feed_forward(p, f"{path}mlp.", arch, norm(p, f"{path}norm_mlp", arch, x))


def key_bias(mask):
    """[B, S] of ones and zeros -> [B, 1, 1, S]."""
    return np.where(mask, 0.0, HIDDEN)[:, None, None, :]


def causal(length):
    return np.where(np.tril(np.ones((length, length))), 0.0, HIDDEN)


def embed(p, arch, ids, types=None, positions=None):
    x = p["embed.tokens.weight"][ids]
    if arch.type_vocab_size:
        x = x + p["embed.types.weight"][np.zeros_like(ids) if types is None else types]
    if arch.positions == "learned":
        x = x + p["embed.positions.weight"][np.arange(ids.shape[1])[None] if positions is None else positions]
    if arch.embedding_norm:
        x = norm(p, "embed.norm", arch, x)
    return x if arch.embedding_size is None else dense(p, "embed.project", x)


def alibi(slopes, length):
    """The penalty of section 3 of arXiv:2108.12409: minus slope times distance, [1, N, T, T]."""
    distances = np.arange(length)[:, None] - np.arange(length)[None]
    return -np.asarray(slopes)[None, :, None, None] * np.maximum(distances, 0)


def bucket(distance, bidirectional, buckets, longest):
    """Bucket of key - query after section 2.1 of arXiv:1910.10683, in integers; and whether it is exactly a border."""
    first = 0
    if bidirectional:
        buckets //= 2
        first = buckets if distance > 0 else 0
        distance = abs(distance)
    else:
        distance = max(-distance, 0)
    exact = buckets // 2
    if distance < exact:
        return first + distance, False
    grown = buckets - exact
    step = 0
    # exact * (longest / exact)^((step + 1) / grown) <= distance, raised to the power `grown` to stay in integers
    while step + 1 < grown and longest ** (step + 1) * exact ** (grown - step - 1) <= distance**grown:
        step += 1
    return first + exact + step, longest**step * exact ** (grown - step) == distance**grown


def encoder(p, arch, ids, mask, order, types=None, positions=None):
    x = embed(p, arch, ids, types, positions)
    for layer in order:
        x = post_norm_block(p, f"layers.{layer}.", arch, x, key_bias(mask))
    return x


def decoder(p, arch, ids, mask, slopes=None, positions=None):
    length = ids.shape[1]
    bias = key_bias(mask) + causal(length) + (0.0 if slopes is None else alibi(slopes, length))
    x = embed(p, arch, ids, None, positions)
    if positions is None:
        positions = np.arange(length)[None]
    for layer in range(arch.num_layers):
        x = pre_norm_block(p, f"layers.{layer}.", arch, x, bias, positions if arch.positions == "rotary" else None)
    return norm(p, "norm_out", arch, x)


def encoder_decoder(p, arch: EncoderDecoderArch, ids, mask, targets, target_mask, buckets):
    """T5: `buckets` (length, bidirectional) -> [T, T]; every layer of a stack adds the same learned bias."""

    def half(path, x, num_layers, bias, bidirectional, **cross):
        table = p[f"{path}relative.weight"][buckets(x.shape[1], bidirectional)]
        for layer in range(num_layers):
            x = pre_norm_block(p, f"{path}layers.{layer}.", arch, x, bias + table.transpose(2, 0, 1), **cross)
        return norm(p, f"{path}norm_out", arch, x)

    memory = half("encoder.", embed(p, arch, ids), arch.num_layers, key_bias(mask), True)
    bias = key_bias(target_mask) + causal(targets.shape[1])
    cross = {"memory": memory, "memory_bias": key_bias(mask)}
    return half("decoder.", embed(p, arch, targets), arch.num_decoder_layers, bias, False, **cross)
