"""What every test of a kernel begins with."""

import pytest

from tests.kernels.reference import RNG, START


@pytest.fixture(autouse=True)
def same_numbers():
    """Give every test the same random numbers, whichever tests run before it."""
    RNG.bit_generator.state = START
