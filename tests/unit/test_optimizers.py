"""The other optimizers against PyTorch, Hugging Face and, for LAMB, NumPy after the paper."""

from __future__ import annotations

import mindspore as ms
import numpy as np
import pytest
from mindspore import Parameter, Tensor, nn

from mindformers.errors import UsageError
from mindformers.optim.adamw import Adam
from mindformers.optim.gradient_descent import SGD, Adagrad
from mindformers.optim.groups import decay_groups
from mindformers.optim.layerwise import Adafactor, Lamb
from mindformers.optim.schedules import linear

STEPS = 12
DRIFT = 2e-6
"""Absolute, on weights of size 1 after 12 steps in float32."""
SHAPES = {"embed.tokens": (6, 4), "layers.0.mlp.up.weight": (4, 8), "layers.0.mlp.up.bias": (8,)}
CURVE = linear(1e-2, total_steps=STEPS, warmup_steps=3)
DECAY = 0.1


@pytest.fixture(autouse=True, scope="module")
def graph_mode():
    ms.set_context(mode=ms.GRAPH_MODE)


def weights():
    generator = np.random.default_rng(0)
    return {path: generator.standard_normal(shape).astype(np.float32) for path, shape in SHAPES.items()}


def gradients_of(step):
    generator = np.random.default_rng(100 + step)
    return {path: generator.standard_normal(shape).astype(np.float32) for path, shape in SHAPES.items()}


class Apply(nn.Cell):
    def __init__(self, optimizer):
        super().__init__(auto_prefix=False)
        self.optimizer = optimizer

    def construct(self, *gradients):
        return self.optimizer(gradients)


def trained(cls, **constants):
    parameters = [Parameter(Tensor(value), name=path) for path, value in weights().items()]
    optimizer = cls(parameters, CURVE, groups=decay_groups(SHAPES, DECAY), **constants)
    apply = Apply(optimizer)
    for step in range(STEPS):
        apply(*(Tensor(gradient) for gradient in gradients_of(step).values()))
    assert optimizer.global_step.asnumpy().tolist() == [STEPS]
    return {parameter.name: parameter.asnumpy() for parameter in parameters}


def oracle(make):
    """Return the weights that an optimizer of PyTorch's kind trains; `make` takes its parameter groups."""
    torch = pytest.importorskip("torch", reason="compares with torch: pip install torch")
    tensors = {path: torch.nn.Parameter(torch.tensor(value)) for path, value in weights().items()}
    optimizer = make(
        [
            {"params": [tensors[path] for path in group.paths], "weight_decay": group.weight_decay}
            for group in decay_groups(SHAPES, DECAY)
        ]
    )
    for step in range(STEPS):
        for group in optimizer.param_groups:
            group["lr"] = float(CURVE[step])
        for path, gradient in gradients_of(step).items():
            tensors[path].grad = torch.tensor(gradient)
        optimizer.step()
    return {path: tensor.detach().numpy() for path, tensor in tensors.items()}


def adam(groups):
    import torch

    return torch.optim.Adam(groups, betas=(0.8, 0.95), eps=1e-6)


def sgd(groups):
    import torch

    return torch.optim.SGD(groups, lr=1.0)


def momentum(groups):
    import torch

    return torch.optim.SGD(groups, lr=1.0, momentum=0.9)


def nesterov(groups):
    import torch

    return torch.optim.SGD(groups, lr=1.0, momentum=0.9, nesterov=True)


def adagrad(groups):
    import torch

    return torch.optim.Adagrad(groups)


def adafactor(groups):
    from transformers.optimization import Adafactor as Theirs

    return Theirs(groups, lr=1.0, scale_parameter=False, relative_step=False)


@pytest.mark.parametrize(
    "cls, constants, theirs",
    [
        (Adam, {"beta1": 0.8, "beta2": 0.95, "eps": 1e-6}, adam),
        (SGD, {}, sgd),
        (SGD, {"momentum": 0.9}, momentum),
        (SGD, {"momentum": 0.9, "nesterov": True}, nesterov),
        (Adagrad, {}, adagrad),
        (Adafactor, {}, adafactor),
    ],
)
def test_weights_equal_the_oracle_with_groups_and_a_schedule(cls, constants, theirs):
    expected = oracle(theirs)
    for path, value in trained(cls, **constants).items():
        np.testing.assert_allclose(value, expected[path], rtol=0, atol=DRIFT, err_msg=path)


def lamb_after_the_paper(beta1=0.9, beta2=0.999, eps=1e-6):
    values = {path: value.astype(np.float64) for path, value in weights().items()}
    decays = {path: group.weight_decay for group in decay_groups(SHAPES, DECAY) for path in group.paths}
    means, squares = (dict.fromkeys(SHAPES, 0.0) for _ in range(2))
    for step in range(1, STEPS + 1):
        for path, gradient in gradients_of(step - 1).items():
            means[path] = beta1 * means[path] + (1 - beta1) * gradient
            squares[path] = beta2 * squares[path] + (1 - beta2) * gradient.astype(np.float64) ** 2
            ratio = means[path] / (1 - beta1**step) / (np.sqrt(squares[path] / (1 - beta2**step)) + eps)
            direction = ratio + decays[path] * values[path]
            trust = np.linalg.norm(values[path]) / np.linalg.norm(direction)
            values[path] = values[path] - float(CURVE[step - 1]) * trust * direction
    return values


def test_lamb_equals_the_paper():
    expected = lamb_after_the_paper()
    for path, value in trained(Lamb).items():
        np.testing.assert_allclose(value, expected[path], rtol=0, atol=DRIFT, err_msg=path)


@pytest.mark.parametrize(
    "cls, constants, named",
    [
        (Adam, {"beta2": 1.0}, "beta2"),
        (SGD, {"momentum": 1.0}, "momentum"),
        (SGD, {"nesterov": True}, "nesterov"),
        (Adagrad, {"eps": 0.0}, "eps"),
        (Adafactor, {"clip_threshold": 0.0}, "clip_threshold"),
        (Lamb, {"eps": 0.0}, "eps"),
    ],
)
def test_a_constant_out_of_range_is_named(cls, constants, named):
    with pytest.raises(UsageError, match=named):
        cls([Parameter(Tensor(np.ones(2, np.float32)), name="scale")], 1e-3, **constants)
