"""The one switch of operators: every numeric function that cells use, in the form that is right and fast here.

Plain composed MindSpore operators are the reference on every device; where a form was chosen for speed or accuracy on
CPU (MindSpore 2.10) the comment says what was measured. Sums that need it (norm, softmax, loss) run in float32.

Shape suffixes: B batch, S sequence, V table rows, D features, C classes; a leading `...` is any batch.
"""

from __future__ import annotations

import math

import numpy as np
from mindspore import Tensor, ops
from mindspore import dtype as mstype

from mindformers.errors import UsageError
from mindformers.log import logger

MASKED = float(np.finfo(np.float32).min)
"""Added to a score that must not count. Finite, so that a row without any key gives uniform weights and not NaN."""

COMPUTE_DTYPES = {"float32": mstype.float32, "float16": mstype.float16, "bfloat16": mstype.bfloat16}


def compute_dtype(name: str, device: str):
    """Return the dtype that activations have on `device`; CPU always computes in float32 and says so once a model."""
    if name not in COMPUTE_DTYPES:
        raise UsageError(f"compute_dtype is '{name}'; accepted: {', '.join(COMPUTE_DTYPES)}")
    if device == "CPU" and name != "float32":
        logger.info("compute_dtype %s: the CPU has no fast kernels for it, computing in float32", name)
        return mstype.float32
    return COMPUTE_DTYPES[name]


def embedding(table_VD, ids, dtype=mstype.float32):
    """Return rows of `table_VD` for integer `ids` of any shape: ids.shape + [D]."""
    return ops.gather(table_VD, ids, 0).astype(dtype)


def layer_norm(x, weight, bias, operator):
    """Return layer norm over the last dimension (Ba et al. 2016, arXiv:1607.06450), computed in float32.

    `operator` is an ops.LayerNorm that the cell holds, with its epsilon.
    """
    return operator(x.astype(mstype.float32), weight, bias)[0].astype(x.dtype)


def tanh(x):
    """Return tanh as 2 sigmoid(2x) - 1: exact to 2e-6, where ops.tanh on CPU saturates early and is off by 1e-4."""
    return 2.0 * ops.sigmoid(2.0 * x) - 1.0


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


def cross_entropy(logits_BC, labels_B, ignore_index):
    """Return the mean negative log-likelihood over the rows whose label is not `ignore_index`, a float32 scalar.

    0 when every row is ignored (PyTorch gives NaN there). Labels are integers in [0, C) or `ignore_index`.
    LogSoftmax with a gather: on a large vocabulary far faster on CPU than ops.cross_entropy, on few classes the same.
    """
    log_probs_BC = ops.log_softmax(logits_BC.astype(mstype.float32), -1)
    counted_B = ops.not_equal(labels_B, ignore_index)
    index_B = ops.select(counted_B, labels_B, ops.zeros_like(labels_B))
    picked_B = ops.gather_elements(log_probs_BC, 1, index_B.expand_dims(1)).squeeze(1)
    weight_B = counted_B.astype(mstype.float32)
    return -(picked_B * weight_B).sum() / ops.maximum(weight_B.sum(), Tensor(1.0, mstype.float32))
