"""Whole stacks on the kernels against the same stacks on operators in float32, dropout included."""

import functools

import mindspore as ms
import numpy as np
import pytest
from mindspore import Tensor

from mindformers.arch.stacks import DecoderArch, EncoderArch, EncoderDecoderArch, Rotary
from mindformers.kernels import library
from mindformers.models.decoder import DecoderModel
from mindformers.models.encoder import EncoderModel
from mindformers.models.encoder_decoder import EncoderDecoderModel

SIZES = {
    "vocab_size": 90,
    "hidden_size": 32,
    "num_layers": 2,
    "num_heads": 4,
    "intermediate_size": 48,
    "max_positions": 16,
    "embedding_dropout": 0.1,
    "hidden_dropout": 0.2,
    "attention_dropout": 0.3,
}
ENCODER = EncoderArch(**SIZES, embedding_norm=True, type_vocab_size=2, head="question_answering")
SHARED = EncoderArch(**SIZES, embedding_norm=True, distinct_layers=1, embedding_size=8, head="token_classification")
DECODER = DecoderArch(
    **SIZES,
    pre_norm=True,
    norm="rms_norm",
    activation="silu",
    gated=True,
    mlp_dropout=0.1,
    positions="rotary",
    rotary=Rotary(interleaved=True),
    num_kv_heads=2,
    mlp_bias=False,
    head="causal_lm",
)
ALIBI = DecoderArch(**SIZES, pre_norm=True, positions="alibi", activation="gelu_tanh", head="causal_lm")
BOTH = EncoderDecoderArch(
    **SIZES,
    pre_norm=True,
    norm="rms_norm",
    activation="relu",
    qkv_bias=False,
    scales_scores=False,
    positions="relative",
    num_decoder_layers=2,
    pad_token_id=0,
    head="seq2seq_lm",
)
DRAW = np.random.default_rng(2)
IDS, LABELS = (Tensor(DRAW.integers(1, 90, (2, 11)).astype(np.int32)) for _ in range(2))
MASK = Tensor(np.array([[1] * 11, [1] * 7 + [0] * 4], np.int32))
STARTS = Tensor(np.array([2, 0], np.int32))
DOCUMENTS = Tensor(np.array([[0] * 5 + [1] * 6, [0] * 9 + [1] * 2], np.int32))
CASES = {
    "encoder": (
        EncoderModel,
        ENCODER,
        {"attention_mask": MASK, "start_positions": STARTS, "end_positions": STARTS + 3},
    ),
    "shared": (EncoderModel, SHARED, {"attention_mask": MASK, "labels": LABELS % 2}),
    "decoder": (DecoderModel, DECODER, {"attention_mask": MASK, "labels": LABELS}),
    "documents": (DecoderModel, DECODER, {"document_ids": DOCUMENTS, "labels": LABELS}),
    "alibi": (DecoderModel, ALIBI, {"attention_mask": MASK, "labels": LABELS}),
    "both": (EncoderDecoderModel, BOTH, {"attention_mask": MASK, "labels": LABELS[:, :9]}),
}


@pytest.fixture(autouse=True)
def pynative():
    before = ms.get_context("mode")
    ms.set_context(mode=ms.PYNATIVE_MODE)
    yield
    ms.set_context(mode=before)


LOSS, GRADIENT = 1e-5, 1e-4
"""Of float32, relative: both sides round sums in another order."""

ROUNDING = 2**-8 / np.sqrt(3)
"""Of bfloat16, relative: uniform within half of the last of its eight bits, at most (Higham 2002, section 2.2)."""

OF_ATTENTION, OF_FEED_FORWARD = 8, 6
"""Tensors that are rounded on the way through a sub-layer: x, weight and result of the first product, probabilities,
context, weight and result of the last, and the sum of both; x, two weights, two results and what stands between them.
As many again on the way back. Roundings are independent of each other, so their squares add up."""


def bound_of(case, dtype):
    """Return the bounds of the loss and of the gradient, relative."""
    if dtype == "float32":
        return LOSS, GRADIENT
    # The longest way through a stack of two layers, and through an encoder of two and the three branches of a decoder.
    attentions, feed_forwards = (6, 4) if case == "both" else (2, 2)
    roundings = 2 * (attentions * OF_ATTENTION + feed_forwards * OF_FEED_FORWARD)
    return ROUNDING, ROUNDING * np.sqrt(roundings)


def loss_and_gradients(case, dtype):
    model_type, arch, inputs = CASES[case]
    model = model_type(arch, compute_dtype=dtype, seed=3)
    model.set_train()

    def loss():
        return model(IDS, **inputs)

    value, gradients = ms.value_and_grad(loss, None, model.trainable_params())()
    return float(value.asnumpy()), {p.name: g.asnumpy() for p, g in zip(model.trainable_params(), gradients)}


@functools.cache
def of_operators(case):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(library, "find", lambda: None)
        return loss_and_gradients(case, "float32")


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("case", CASES)
def test_a_stack_trains_on_kernels_as_on_operators_up_to_its_rounding(case, dtype):
    expected, expected_gradients = of_operators(case)
    loss, gradients = loss_and_gradients(case, dtype)
    bound_of_loss, bound = bound_of(case, dtype)
    assert abs(loss - expected) < bound_of_loss * expected
    whole = np.sqrt(sum((gradient**2).sum() for gradient in expected_gradients.values()))
    difference = np.sqrt(sum(((gradients[n] - g) ** 2).sum() for n, g in expected_gradients.items()))
    assert 0 < difference < bound * whole, "the kernels were not used, or are wrong"
