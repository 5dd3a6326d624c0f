"""AdamW against PyTorch's, in a compiled graph."""

from __future__ import annotations

import mindspore as ms
import numpy as np
import pytest
from mindspore import Parameter, Tensor, nn, ops

from mindformers.errors import UsageError
from mindformers.optim.adamw import AdamW
from mindformers.optim.groups import ParameterGroup, decay_groups
from mindformers.optim.schedules import linear

SHAPES = {"embed.tokens": (7, 4), "layers.0.mlp.up.weight": (4, 3), "layers.0.mlp.up.bias": (3,), "scale": ()}
STEPS = 50
DRIFT = 2e-6
"""Absolute: eight float32 spacings of the largest weight, 2.4, after 50 steps of two roundings each; in float64 terms
PyTorch's own weights are off by 4e-7 here, ours by 5e-7."""


class Apply(nn.Cell):
    """Runs the optimizer as part of a graph."""

    def __init__(self, optimizer):
        super().__init__(auto_prefix=False)
        self.optimizer = optimizer

    def construct(self, *gradients):
        return ops.depend(gradients[0], self.optimizer(gradients))


def starting_values():
    generator = np.random.default_rng(0)
    return {path: generator.standard_normal(shape).astype(np.float32) for path, shape in SHAPES.items()}


def gradients_of(step):
    generator = np.random.default_rng(100 + step)
    # Sizes from 1e-9 to 10, so that epsilon matters in some steps.
    return {
        path: (generator.standard_normal(shape) * 10 ** generator.uniform(-9, 1)).astype(np.float32)
        for path, shape in SHAPES.items()
    }


def parameters():
    return [Parameter(Tensor(value), name=path) for path, value in starting_values().items()]


def torch_run(groups, curve, steps, **constants):
    torch = pytest.importorskip("torch", reason="compares with torch: pip install torch")
    weights = {path: torch.nn.Parameter(torch.tensor(value)) for path, value in starting_values().items()}
    optimizer = torch.optim.AdamW(
        [
            {
                "params": [weights[path] for path in group.paths],
                "weight_decay": group.weight_decay,
                "scale": group.learning_rate_scale,
            }
            for group in groups
        ],
        **constants,
    )
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = float(curve[step]) * group["scale"]
        for path, gradient in gradients_of(step).items():
            weights[path].grad = torch.tensor(gradient)
        optimizer.step()
    return weights, optimizer.state


def run(optimizer, steps, first=0):
    apply = Apply(optimizer)
    for step in range(first, first + steps):
        apply(*(Tensor(gradient) for gradient in gradients_of(step).values()))
    return {parameter.name: parameter.asnumpy() for parameter in optimizer.get_parameters()}


@pytest.fixture(scope="module")
def grouped_run():
    groups = decay_groups(SHAPES, 0.1, layer_decay=0.5)
    curve = linear(1e-2, total_steps=STEPS, warmup_steps=5)
    optimizer = AdamW(parameters(), curve, beta1=0.9, beta2=0.98, eps=1e-8, groups=groups)
    return groups, curve, optimizer, run(optimizer, STEPS)


def test_weights_and_moments_equal_pytorch_with_groups_and_a_schedule(grouped_run):
    groups, curve, _, ours = grouped_run
    weights, state = torch_run(groups, curve, STEPS, betas=(0.9, 0.98), eps=1e-8)
    for path in SHAPES:
        np.testing.assert_allclose(ours[path], weights[path].detach().numpy(), rtol=0, atol=DRIFT, err_msg=path)
        np.testing.assert_allclose(
            ours[f"adam_m.{path}"], state[weights[path]]["exp_avg"].numpy(), rtol=1e-5, atol=1e-8
        )
        np.testing.assert_allclose(
            ours[f"adam_v.{path}"], state[weights[path]]["exp_avg_sq"].numpy(), rtol=1e-5, atol=1e-8
        )


def test_the_state_is_named_after_the_parameters(grouped_run):
    ours = grouped_run[-1]
    expected = {f"{moment}.{path}" for moment in ("adam_m", "adam_v") for path in SHAPES}
    assert set(ours) - set(SHAPES) == expected | {"global_step", "learning_rate", "schedule_offset"}
    assert ours["global_step"].tolist() == [STEPS]


def test_past_its_end_the_schedule_keeps_its_last_rate(grouped_run):
    groups, curve, optimizer, _ = grouped_run
    longer = np.concatenate([curve, np.full(3, curve[-1])])
    ours = run(optimizer, 3, first=STEPS)
    weights, _ = torch_run(groups, longer, STEPS + 3, betas=(0.9, 0.98), eps=1e-8)
    np.testing.assert_allclose(ours["embed.tokens"], weights["embed.tokens"].detach().numpy(), rtol=0, atol=DRIFT)
    assert optimizer.learning_rate_at(10 * STEPS) == curve[-1]


def test_a_stretched_schedule_goes_on_at_the_same_share_and_the_moments_at_their_count(grouped_run):
    groups, _, _, _ = grouped_run
    longer = linear(1e-2, total_steps=2 * STEPS)
    optimizer = AdamW(parameters(), longer, groups=groups)
    run(optimizer, 3)
    optimizer.stretch_schedule(3, 6)
    assert optimizer.learning_rate_at(3) == longer[6]
    ours = run(optimizer, 2, first=3)
    rates = np.concatenate([longer[:3], longer[6:8]])
    weights, _ = torch_run(groups, rates, 5)
    np.testing.assert_allclose(ours["embed.tokens"], weights["embed.tokens"].detach().numpy(), rtol=0, atol=DRIFT)
    assert ours["global_step"].tolist() == [5]


def test_a_constant_rate_and_one_decay_for_all_equal_pytorch():
    groups = (ParameterGroup(0.3, tuple(SHAPES)),)
    ours = run(AdamW(parameters(), 1e-2, weight_decay=0.3), 5)
    weights, _ = torch_run(groups, [1e-2] * 5, 5)
    for path in SHAPES:
        np.testing.assert_allclose(ours[path], weights[path].detach().numpy(), rtol=0, atol=DRIFT)


def test_groups_that_miss_or_invent_parameters_name_them():
    with pytest.raises(UsageError) as caught:
        AdamW(parameters(), 1e-3, groups=(ParameterGroup(0.0, ("embed.tokens", "scale", "nonsense")),))
    assert "layers.0.mlp.up.bias: in no group" in str(caught.value)
    assert "nonsense: not a parameter" in str(caught.value)


@pytest.mark.parametrize(
    "constants, named", [({"beta1": 1.0}, "beta1"), ({"eps": 0.0}, "eps"), ({"weight_decay": -1.0}, "weight_decay")]
)
def test_a_constant_out_of_range_is_named(constants, named):
    with pytest.raises(UsageError, match=named):
        AdamW(parameters(), 1e-3, **constants)


@pytest.fixture(autouse=True, scope="module")
def graph_mode():
    ms.set_context(mode=ms.GRAPH_MODE)
