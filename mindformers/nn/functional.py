"""The one switch of operators: every numeric function that cells use, in the form that is right and fast here.

Plain composed MindSpore operators are the reference on every device; where a form was chosen for speed or accuracy on
CPU (MindSpore 2.10) the comment says what was measured. Sums that need it (norm, softmax, loss) run in float32.

Shape suffixes: B batch, S sequence, V table rows, D features, C classes; a leading `...` is any batch.
"""

from __future__ import annotations

import math

import mindspore as ms
import numpy as np
from mindspore import Tensor, ops
from mindspore import dtype as mstype

from mindformers.errors import UsageError
from mindformers.kernels import library
from mindformers.log import logger

MASKED = float(np.finfo(np.float32).min) / 4
"""Added to a score that must not count. Finite, so that a row without any key gives uniform weights and not NaN; a
quarter of the least number, so that several of them add up."""

DTYPES = {"float32": mstype.float32, "float16": mstype.float16, "bfloat16": mstype.bfloat16}


def dtype_named(name: str):
    """Return a floating dtype. Raises UsageError for any other name."""
    if name not in DTYPES:
        raise UsageError(f"the type of parameters or activations is '{name}'; accepted: {', '.join(DTYPES)}")
    return DTYPES[name]


def compute_dtype(name: str, device: str):
    """Return the dtype that activations have on `device`.

    A CPU computes in bfloat16 where the kernels do, else in float32, which the log says once a model.
    """
    dtype = dtype_named(name)
    if device == "CPU" and name != "float32" and not has_kernels(dtype):
        logger.info("compute_dtype %s: the CPU has no fast kernels for it, computing in float32", name)
        return mstype.float32
    return dtype


def has_kernels(dtype=mstype.float32):
    """Say whether cells that are made now have kernels of the CPU for activations of `dtype` (mindformers.kernels).

    Those for bfloat16 are never there without those for float32, in which a model has its residual stream.
    """
    if dtype == mstype.bfloat16:
        return library.has_bfloat16()
    return dtype == mstype.float32 and library.usable()


def stream_dtype(dtype):
    """Return the dtype of the residual stream beside branches of `dtype`: with kernels it stays float32.

    Then only kernels meet bfloat16, which MindSpore's operators on CPU hardly know, and losses are those of a
    framework that keeps the stream in float32 under automatic mixed precision.
    """
    return mstype.float32 if has_kernels(dtype) else dtype


def is_placed():
    """Say whether MindSpore's parallel compiler will split the operators of cells that are made now.

    It (2.10) refuses cells with a backward pass of their own, where shapes of slices meet shapes of the whole; and a
    table of dropout's masks that several operators read cannot be split.
    """
    return ms.get_auto_parallel_context("parallel_mode") in ("semi_auto_parallel", "auto_parallel")


def readable(table_VD):
    """Return a table as float32 if it is bfloat16, whose rows and gradients the CPU cannot take or add (2.10)."""
    return table_VD.astype(mstype.float32) if table_VD.dtype == mstype.bfloat16 else table_VD


def embedding(table_VD, ids, operator):
    """Return rows of `table_VD` for integer `ids` of any shape: ids.shape + [D], float32.

    `operator` is an ops.Gather that the cell holds.
    """
    return operator(table_VD, ids, 0).astype(mstype.float32)


def layer_norm(x, weight, bias, operator):
    """Return layer norm over the last dimension (Ba et al. 2016, arXiv:1607.06450), computed in float32.

    `operator` is an ops.LayerNorm that the cell holds, with its epsilon.
    """
    gain, offset = weight.astype(mstype.float32), bias.astype(mstype.float32)
    return operator(x.astype(mstype.float32), gain, offset)[0].astype(x.dtype)


def rms_norm(x, weight, eps):
    """Return x / rms(x) * weight over the last dimension (Zhang and Sennrich 2019, arXiv:1910.07467), in float32.

    Factors are spread to full size: a broadcasting product on CPU keeps index tables of four times its output. Squares
    are an operator: where x is a sum over devices, MindSpore's compiler (2.10) gets the gradient of x * x wrong.
    """
    wide = x.astype(mstype.float32)
    inverse = ops.rsqrt(ops.square(wide).mean(-1, keep_dims=True) + eps)
    gain = ops.broadcast_to(weight.astype(mstype.float32), x.shape)
    return (wide * ops.broadcast_to(inverse, x.shape) * gain).astype(x.dtype)


def tanh(x):
    """Return tanh as sinh / cosh, exact to 2e-7; beyond 15 it is 1.

    On CPU (MindSpore 2.10) ops.tanh is off by up to 1e-4, and ops.exp and ops.sigmoid, of which it could be made, by
    4e-6 of their value. The functions are poolers' and classifiers', on few elements.
    """
    near = ops.clamp(x, -15.0, 15.0)
    return ops.sinh(near) / ops.cosh(near)


def gelu(x):
    """Return x Phi(x) with the exact normal distribution (Hendrycks and Gimpel 2016, arXiv:1606.08415)."""
    return x * (ops.erf(x * math.sqrt(0.5)) * 0.5 + 0.5)


def gelu_tanh(x):
    """Return the tanh approximation of GELU; 0.5 (1 + tanh(y)) = sigmoid(2y), seven times faster than ops.GeLU."""
    return x * ops.sigmoid(2.0 * math.sqrt(2.0 / math.pi) * (x + 0.044715 * x * x * x))


def quick_gelu(x):
    """Return x sigmoid(1.702 x)."""
    return x * ops.sigmoid(1.702 * x)


def relu(x):
    """Return max(x, 0)."""
    return ops.relu(x)


def silu(x):
    """Return x sigmoid(x) (Elfwing et al. 2017, arXiv:1702.03118)."""
    return x * ops.sigmoid(x)


def activation(name: str):
    """Return the function of an `arch.stacks.Activation` name."""
    known = {"gelu": gelu, "gelu_tanh": gelu_tanh, "quick_gelu": quick_gelu, "relu": relu, "silu": silu}
    if name not in known:
        raise UsageError(f"activation is '{name}'; accepted: {', '.join(known)}")
    return known[name]


def attention_bias(attention_mask_BS):
    """Return what is added to the scores of each key, float32 [B, 1, S, 1]: 0 where the mask is 1, else MASKED."""
    hidden_BS = 1.0 - attention_mask_BS.astype(mstype.float32)
    return (hidden_BS * MASKED).expand_dims(1).expand_dims(-1)


def causal_bias(num_queries, num_keys):
    """Return what is added to every score, float32 [1, 1, T, S]: 0 for keys up to the query, else MASKED.

    Queries are the last `num_queries` of `num_keys` positions.
    """
    queries_T1 = ops.arange(num_queries).expand_dims(1) + (num_keys - num_queries)
    later_TS = ops.greater(ops.arange(num_keys).expand_dims(0), queries_T1)
    return (later_TS.astype(mstype.float32) * MASKED).expand_dims(0).expand_dims(0)


def documents_bias(document_ids_BT):
    """Return what is added to every score, float32 [B, 1, T, T], and the place of each token in its document, [B, T].

    0 for keys of the query's own document up to the query, else MASKED. Equal ids that stand together are a document.
    """
    batch, length = document_ids_BT.shape
    shape = (batch, length, length)
    queries_BTT = ops.broadcast_to(document_ids_BT.expand_dims(2), shape)
    same_BTT = ops.equal(queries_BTT, ops.broadcast_to(document_ids_BT.expand_dims(1), shape)).astype(mstype.float32)
    earlier_TT = ops.greater_equal(ops.arange(length).expand_dims(1), ops.arange(length).expand_dims(0))
    seen_BTT = same_BTT * ops.broadcast_to(earlier_TT.astype(mstype.float32).expand_dims(0), shape)
    return ((1.0 - seen_BTT) * MASKED).expand_dims(1), seen_BTT.sum(-1).astype(mstype.int32) - 1


def vocabulary_logits(hidden, table_VD, operator, bias_V=None):
    """Return hidden [..., D] times the transposed table, plus bias, as float32 [..., V].

    `operator` is a TableProduct that the cell holds: the table is never transposed itself, which takes
    longer than the product of a single row. BiasAdd, because a broadcasting Add is costly.
    """
    rows = hidden.reshape(-1, hidden.shape[-1])
    logits = operator(rows, table_VD).astype(mstype.float32)
    if bias_V is not None:
        logits = ops.bias_add(logits, bias_V.astype(mstype.float32))
    return logits.reshape(hidden.shape[:-1] + (table_VD.shape[0],))


def unit_rows(table_VD):
    """Return the rows scaled to Euclidean length 1, float32."""
    wide_VD = table_VD.astype(mstype.float32)
    length_V1 = ops.sqrt((wide_VD * wide_VD).sum(-1, keepdims=True))
    return wide_VD / ops.broadcast_to(ops.maximum(length_V1, Tensor(1e-12, mstype.float32)), wide_VD.shape)


def cross_entropy(logits_BC, labels_B, ignore_index):
    """Return the mean negative log-likelihood over the rows whose label is not `ignore_index`, a float32 scalar.

    0 when every row is ignored (PyTorch gives NaN there). Labels are integers in [0, C) or `ignore_index`.
    """
    losses_B, weight_B = token_losses(logits_BC, labels_B, ignore_index)
    return weighted_mean(losses_B, weight_B)


def weighted_mean(losses_B, weight_B):
    """Return the sum of losses over that of their weights, a float32 scalar; 0 without any weight."""
    return losses_B.sum() / ops.maximum(weight_B.sum(), Tensor(1.0, mstype.float32))


def token_losses(logits_BC, labels_B, ignore_index):
    """Return the negative log-likelihood of every row and its weight, each float32 [B]; both 0 for ignored rows.

    LogSoftmax with a gather: on a large vocabulary far faster on CPU than ops.cross_entropy, on few classes the same.
    """
    log_probs_BC = ops.log_softmax(logits_BC.astype(mstype.float32), -1)
    counted_B = ops.not_equal(labels_B, ignore_index)
    index_B = ops.select(counted_B, labels_B, ops.zeros_like(labels_B))
    picked_B = ops.gather_elements(log_probs_BC, 1, index_B.expand_dims(1)).squeeze(1)
    weight_B = counted_B.astype(mstype.float32)
    return -(picked_B * weight_B), weight_B
