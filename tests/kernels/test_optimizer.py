"""Adam of the kernels against the composed one, and squares that do not depend on threads."""

import mindspore as ms
import numpy as np
import pytest
from mindspore import Parameter, Tensor, jit, nn

from mindformers.kernels.optimizer import SquareSums
from mindformers.optim.adamw import Adam, AdamW
from mindformers.optim.groups import ParameterGroup
from tests.kernels.reference import normal

SHAPES = {"a": (3, 5), "b": (70001,), "c": (1,)}
GROUPS = (ParameterGroup(0.1, ("a", "b")), ParameterGroup(0.0, ("c",), 0.5))


def updated(kind, gradients, with_kernel):
    """Return parameters and moments after some updates, by name."""
    parameters = [Parameter(Tensor(value), name=name) for name, value in START.items()]
    optimizer = kind(parameters, learning_rate=np.array([1e-2, 3e-3]), groups=GROUPS)
    assert optimizer.kernel is not None
    if not with_kernel:
        optimizer.kernel = None
    for step in gradients:
        optimizer(step)
    return {item.name: item.asnumpy() for item in (*parameters, *optimizer.adam_m, *optimizer.adam_v)}


START = {name: np.random.default_rng(1).standard_normal(shape).astype(np.float32) for name, shape in SHAPES.items()}


@pytest.mark.parametrize("kind", [Adam, AdamW])
def test_updates_are_those_of_the_composed_optimizer(kind):
    gradients = [tuple(normal(*shape, scale=0.1) for shape in SHAPES.values()) for _ in range(3)]
    found, expected = (updated(kind, gradients, with_kernel) for with_kernel in (True, False))
    for name, value in expected.items():
        assert np.abs(found[name] - value).max() <= 1e-6 * np.abs(value).max(), name


def test_an_update_in_a_branch_of_a_graph_moves_the_parameters():
    parameter = Parameter(Tensor(np.ones(4, np.float32)), name="a")
    optimizer = AdamW([parameter], learning_rate=0.1)

    class Step(nn.Cell):
        @jit
        def construct(self, gradient, factor):
            total = gradient.sum()
            if total > 0:
                total = ms.ops.depend(total, optimizer((gradient,), factor))
            return total

    step = Step()
    step(Tensor(-np.ones(4, np.float32)), Tensor(1.0))
    assert (parameter.asnumpy() == 1.0).all()
    step(Tensor(np.ones(4, np.float32)), Tensor(0.5))
    np.testing.assert_allclose(parameter.asnumpy(), 0.9, rtol=1e-5)
    np.testing.assert_allclose(optimizer.adam_m[0].asnumpy(), 0.05, rtol=1e-5)


def test_squares_are_summed_for_each_tensor():
    tensors = [normal(*shape) for shape in ((3, 7), (200003,), (1,))]
    found = [float(one) for one in SquareSums(3)(tensors)]
    for one, tensor in zip(found, tensors):
        assert one == pytest.approx((tensor.asnumpy().astype(np.float64) ** 2).sum(), rel=1e-6)
