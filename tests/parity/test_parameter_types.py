"""Weights in float16 and bfloat16: loss and gradients near those of float32, and files that keep the type."""

import dataclasses

import mindspore as ms
import numpy as np
import pytest
from mindspore import ParameterTuple, Tensor

from mindformers import (
    AlbertConfig,
    AlbertForMaskedLM,
    BertConfig,
    BertForMaskedLM,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    T5Config,
    T5ForConditionalGeneration,
)
from mindformers.errors import UsageError
from mindformers.weights.readers import read_weights

ENCODER = {
    "vocab_size": 40,
    "hidden_size": 12,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 16,
    "max_position_embeddings": 16,
}
MODELS = {
    "bert": (BertForMaskedLM, BertConfig(**ENCODER)),
    "albert": (AlbertForMaskedLM, AlbertConfig(**ENCODER, embedding_size=6)),
    "gpt2": (GPT2LMHeadModel, GPT2Config(vocab_size=40, n_embd=12, n_layer=1, n_head=2, n_positions=16)),
    "llama": (LlamaForCausalLM, LlamaConfig(**ENCODER, num_key_value_heads=1)),
    "t5": (
        T5ForConditionalGeneration,
        T5Config(vocab_size=40, d_model=12, d_kv=4, d_ff=16, num_layers=1, num_heads=2, initializer_factor=0.3),
    ),
}
STORED = {"float16": ("F16", ms.float16, 2**-10), "bfloat16": ("BF16", ms.bfloat16, 2**-7)}
IDS = Tensor(np.random.default_rng(5).integers(1, 40, (2, 7)).astype(np.int32))


@pytest.fixture(autouse=True)
def _eager():
    before = ms.get_context("mode")
    ms.set_context(mode=ms.PYNATIVE_MODE)
    yield
    ms.set_context(mode=before)


def loss_and_gradients(model):
    parameters = ParameterTuple(list(model.trainable_params()))

    def forward():
        return model(IDS, labels=IDS)

    loss, gradients = ms.value_and_grad(forward, None, parameters)()
    return float(loss), {item.name: gradient for item, gradient in zip(parameters, gradients)}


@pytest.mark.parametrize("dtype", STORED)
@pytest.mark.parametrize("name", MODELS)
def test_half_weights_train_near_whole_ones_and_are_saved_as_they_are(tmp_path, name, dtype):
    cls, config = MODELS[name]
    kind, held, rounding = STORED[dtype]
    half = cls(dataclasses.replace(config, param_init_type=dtype))
    assert {item.dtype for item in half.trainable_params()} == {held}
    half.save_pretrained(tmp_path)
    files = read_weights(tmp_path)
    assert {files.stored(key).kind for key in files} == {kind}

    whole = cls.from_pretrained(tmp_path)  # the same, rounded, numbers in float32
    assert {item.dtype for item in whole.trainable_params()} == {ms.float32}
    loss, gradients = loss_and_gradients(half)
    expected, exact = loss_and_gradients(whole)
    assert abs(loss - expected) < 1e-5 * expected  # weights are read in float32, so the loss is the same
    total = np.sqrt(sum(float((value.asnumpy() ** 2).sum()) for value in exact.values()))
    for path, gradient in gradients.items():
        # Kernels of products and tables read bfloat16 as it lies and give its gradient in float32.
        is_widened = held == ms.bfloat16 and "norm" not in path and "relative" not in path
        assert gradient.dtype == (ms.float32 if is_widened else held), path
        difference = gradient.astype(ms.float32).asnumpy() - exact[path].asnumpy()
        assert np.linalg.norm(difference) < 2 * rounding * total, path

    again = cls.from_pretrained(tmp_path, dtype=dtype)
    for mine, other in zip(again.trainable_params(), half.trainable_params()):
        assert mine.dtype == held
        assert (mine.astype(ms.float32).asnumpy() == other.astype(ms.float32).asnumpy()).all()


def test_an_unknown_type_is_refused():
    with pytest.raises(UsageError, match="'float8'; accepted: float32, float16, bfloat16"):
        BertForMaskedLM(BertConfig(**ENCODER, param_init_type="float8"))
