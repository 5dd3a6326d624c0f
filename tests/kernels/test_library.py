"""The library: found, refused, switched off; its threads, instruction sets and errors."""

import ctypes
import os
import subprocess
import sys

import mindspore as ms
import numpy as np
import pytest

from mindformers.errors import UsageError
from mindformers.kernels import library
from mindformers.kernels.library import NOTHING
from mindformers.kernels.linear import Linear
from mindformers.nn import functional
from tests.kernels.reference import normal

PRODUCT = """
import sys
import numpy as np, mindspore as ms
from mindspore import Tensor
from mindformers.kernels import library
from mindformers.kernels.library import NOTHING
from mindformers.kernels.norm import Norm
from mindformers.kernels.feed_forward import FeedForward
draw = lambda *shape: Tensor(np.random.default_rng(1).standard_normal(shape).astype(np.float32))
x = draw(3, 129, 33)
words = Tensor(np.zeros(1, np.int32))
cell = FeedForward("gelu", False, True, 0.0, 0)
inputs = NOTHING, draw(70, 33), draw(33, 70), NOTHING, draw(70), draw(33), words, words
out = cell(x, *inputs)
grads = cell.bprop(x, *inputs, out, out)
found = [out[0], grads[0], grads[2]]
norm = Norm(True, 1e-5)
found += [norm(x, draw(33), draw(33), x), *norm.bprop(x, draw(33), draw(33), x, None, x)[:3]]
np.savez(sys.argv[1], *[tensor.asnumpy() for tensor in found])
print(library.find().threads, library.find().instruction_set)
"""


def in_process(code, *arguments, **environment):
    run = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr
    return run.stdout.split()


@pytest.fixture(scope="module")
def with_one_thread(tmp_path_factory):
    file = tmp_path_factory.mktemp("one") / "numbers.npz"
    assert in_process(PRODUCT, file, MINDFORMERS_THREADS="1")[0] == "1"
    return np.load(file)


@pytest.mark.parametrize(
    ("threads", "instruction_set", "said"), [("64", "", "64"), ("3", "avx2", "AVX2"), ("2", "portable", "portable")]
)
def test_threads_and_instruction_sets_change_results_by_rounding_alone(
    tmp_path, with_one_thread, threads, instruction_set, said
):
    file = tmp_path / "numbers.npz"
    assert said in in_process(PRODUCT, file, MINDFORMERS_THREADS=threads, MINDFORMERS_ISA=instruction_set)
    numbers = np.load(file)
    for name in numbers:
        expected = with_one_thread[name]
        assert np.abs(numbers[name] - expected).max() < 1e-5 * np.abs(expected).max(), name


FORKED = """
import os, sys
import numpy as np
from mindspore import Tensor
from mindformers.kernels.norm import Norm
x, one = Tensor(np.random.default_rng(1).random((512, 64), np.float32)), Tensor(np.ones(64, np.float32))
norm = Norm(True, 1e-5)
before = norm(x, one, one, one).asnumpy()
library = norm.forward  # threads are running now
import ctypes
from mindformers.kernels.library import find
child = os.fork()
if child == 0:
    os._exit(0 if find().threads >= 1 else 1)
_, status = os.waitpid(child, 0)
print(status)
"""


def test_a_forked_process_starts_threads_of_its_own():
    assert in_process(FORKED, MINDFORMERS_THREADS="4")[-1] == "0"


def test_a_foreign_file_is_refused(tmp_path):
    file = tmp_path / "libmindformers_kernels.so"
    file.write_bytes(b"no library at all")
    with pytest.raises(UsageError, match="is not a library of these kernels"):
        library.load(file)


def test_a_library_of_another_format_is_refused(monkeypatch):
    monkeypatch.setattr(library, "FORMAT", library.FORMAT + 1)
    with pytest.raises(UsageError, match="is of format"):
        library.load()


def test_a_missing_library_is_no_error_and_says_what_to_do(tmp_path):
    with pytest.raises(library.UnusableError, match="install a C\\+\\+ compiler"):
        library.load(tmp_path / "nothing.so")


def test_kernels_can_be_switched_off(monkeypatch):
    monkeypatch.setenv("MINDFORMERS_KERNELS", "off")
    library.find.cache_clear()
    try:
        assert not functional.has_kernels()
        assert not functional.has_kernels(ms.bfloat16)
        assert functional.compute_dtype("bfloat16", "CPU") == ms.float32
    finally:
        monkeypatch.undo()
        library.find.cache_clear()
    assert functional.compute_dtype("bfloat16", "CPU") == ms.bfloat16


def test_a_kernel_that_fails_says_why_with_the_shapes():
    function = library.find().functions.mindformers_linear_forward
    arrays = [
        np.zeros((3, 4), np.float32),
        np.zeros((2, 5), np.float32),
        np.array([1, 0], np.float64),
        np.zeros((3, 2), np.float32),
    ]
    data = (ctypes.c_void_p * 4)(*[array.ctypes.data for array in arrays])
    ranks = (ctypes.c_int * 4)(2, 2, 1, 2)
    shapes = [(ctypes.c_int64 * array.ndim)(*array.shape) for array in arrays]
    pointers = (ctypes.c_void_p * 4)(*[ctypes.addressof(shape) for shape in shapes])
    types = (ctypes.c_char_p * 4)(b"float32", b"float32", b"float64", b"float32")
    assert function(4, data, ranks, pointers, types, None, None) != 0
    assert "do not fit together; arguments: float32[3,4], float32[2,5]" in library.find().last_error()
    assert library.find().last_error() == ""


def test_memory_that_is_kept_can_be_given_back():
    Linear(False, ms.bfloat16)(normal(64, 64), normal(64, 64), NOTHING).astype(ms.float32).asnumpy()
    assert library.find().release() > 0
    assert library.find().release() == 0
