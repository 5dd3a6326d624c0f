"""Learning-rate curves against hand-worked values and Hugging Face's schedulers."""

from __future__ import annotations

import numpy as np
import pytest

from mindformers.errors import UsageError
from mindformers.optim import schedules

ROUNDING = 2e-7
"""Relative: one float32 rounding of a value worked out in float64."""


def test_a_linear_schedule_rises_from_zero_and_falls_towards_zero():
    curve = schedules.linear(1.0, total_steps=10, warmup_steps=2)
    np.testing.assert_allclose(curve, [0, 0.5, 1, 7 / 8, 6 / 8, 5 / 8, 4 / 8, 3 / 8, 2 / 8, 1 / 8], rtol=ROUNDING)
    assert curve.dtype == np.float32


def test_the_warm_up_starts_at_warmup_lr_init():
    curve = schedules.constant_with_warmup(1.0, total_steps=4, warmup_steps=2, warmup_lr_init=0.5)
    np.testing.assert_array_equal(curve, np.float32([0.5, 0.75, 1, 1]))


def test_a_polynomial_falls_to_lr_end_by_its_power():
    curve = schedules.polynomial(1.0, total_steps=4, lr_end=0.2, power=2.0)
    np.testing.assert_allclose(curve, [1.0, 0.2 + 0.8 * 0.5625, 0.2 + 0.8 * 0.25, 0.2 + 0.8 * 0.0625], rtol=ROUNDING)


def test_a_cosine_with_an_end_rate_halves_the_way_in_the_middle():
    curve = schedules.cosine(3e-4, total_steps=100, lr_end=1e-4)
    assert curve[0] == np.float32(3e-4)
    assert curve[50] == pytest.approx(2e-4, rel=ROUNDING)
    assert curve[99] == pytest.approx(1e-4, rel=1e-3)


def test_restarts_return_to_the_full_rate():
    curve = schedules.cosine_with_restarts(1.0, total_steps=30, num_cycles=3)
    np.testing.assert_allclose(curve[[0, 10, 20]], 1.0, rtol=ROUNDING)
    assert curve[9] < 0.05 and curve[19] < 0.05


def test_a_warm_up_ratio_wins_over_steps_and_is_rounded_up():
    assert schedules.warmup_length(25, warmup_steps=7, warmup_ratio=0.1) == 3
    assert schedules.warmup_length(25, warmup_steps=7) == 7


def test_a_warm_up_longer_than_training_only_rises():
    curve = schedules.linear(1.0, total_steps=5, warmup_steps=10)
    np.testing.assert_allclose(curve, np.arange(5) / 10, rtol=ROUNDING)


@pytest.mark.parametrize(
    "arguments, named",
    [
        ({"total_steps": 0}, "0 steps"),
        ({"total_steps": 5, "warmup_ratio": 1.5}, "warmup_ratio"),
        ({"total_steps": 5, "warmup_steps": -1}, "warmup_steps"),
        ({"total_steps": 5, "lr_end": 2.0}, "lr_end"),
        ({"total_steps": 5, "warmup_lr_init": float("nan")}, "warmup_lr_init"),
    ],
)
def test_a_value_out_of_range_is_named(arguments, named):
    with pytest.raises(UsageError, match=named):
        schedules.linear(1.0, **arguments)


def test_an_end_rate_that_a_constant_schedule_would_ignore_is_refused():
    with pytest.raises(UsageError, match="remove lr_end"):
        schedules.constant_with_warmup(1.0, total_steps=5, lr_end=1e-6)


@pytest.mark.parametrize("total, warmup", [(40, 0), (40, 7), (33, 1), (12, 11)])
@pytest.mark.parametrize(
    "name, extra, specific",
    [
        ("constant", {}, None),
        ("constant_with_warmup", {}, None),
        ("linear", {}, None),
        ("cosine", {}, None),
        ("cosine", {"num_cycles": 1.5}, {"num_cycles": 1.5}),
        ("cosine_with_restarts", {}, None),
        ("cosine_with_restarts", {"num_cycles": 3}, {"num_cycles": 3}),
        ("polynomial", {"lr_end": 1e-7}, None),
        ("polynomial", {"lr_end": 1e-6, "power": 2.0}, {"lr_end": 1e-6, "power": 2.0}),
    ],
)
def test_every_step_equals_hugging_face(name, extra, specific, total, warmup):
    torch = pytest.importorskip("torch", reason="compares with torch: pip install torch")
    transformers = pytest.importorskip("transformers", reason="compares with transformers: pip install transformers")
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=3e-5)
    scheduler = transformers.get_scheduler(name, optimizer, warmup, total, scheduler_specific_kwargs=specific)
    expected = []
    for _ in range(total):
        expected.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    given = dict(extra) if name == "constant" else {**extra, "warmup_steps": warmup}
    # 1e-15: a cosine that ends at exactly zero in one formula and at rounding noise in the other.
    np.testing.assert_allclose(
        getattr(schedules, name)(3e-5, total_steps=total, **given), expected, rtol=ROUNDING, atol=1e-15
    )
