"""Fixtures of the parity tests."""

import contextlib

import pytest
from mindspore import Tensor


@pytest.fixture(scope="session", autouse=True)
def _numpy_is_probed():
    """Let MindSpore 2.10 look for NumPy 1, which fails the first scalar operation of a process under NumPy 2."""
    with contextlib.suppress(SystemError):
        Tensor(1.0) * 1.0
