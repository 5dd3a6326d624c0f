"""Find, check and load the compiled kernels of the CPU, and make operators of MindSpore from their functions.

The library is built with the package (setup.py) and takes its matrix products from the oneDNN inside the mindspore
wheel. `MINDFORMERS_KERNELS=off` turns it off, `MINDFORMERS_THREADS` sets its number of threads.
"""

from __future__ import annotations

import ctypes
import functools
import itertools
import os
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Container, Dict, Optional, Tuple

import mindspore as ms
import numpy as np
from mindspore import Tensor, ops
from mindspore.ops import signature

from mindformers.errors import UsageError
from mindformers.log import logger

FORMAT = 1
"""Format of the calls between these modules and the library; `mindformers_kernels_format` has the library's."""

SWITCH = "MINDFORMERS_KERNELS"
FILE = Path(__file__).with_name("libmindformers_kernels.so")
INSTRUCTION_SETS = ("portable", "AVX2", "AVX512")
AVX512_BF16 = 0xE7
"""Bits of oneDNN's instruction sets (dnnl_cpu_isa_t) that say that products of bfloat16 are fast."""

PLAIN_MODES = ("stand_alone", "data_parallel")
"""Parallel modes in which no compiler cuts operators into parts."""


_numbers = itertools.count()


@dataclass(frozen=True)
class Library:
    """The loaded library: where it is, and what the processor does in it."""

    path: Path
    functions: ctypes.CDLL
    instruction_set: str
    onednn: str
    has_bfloat16: bool

    @property
    def threads(self) -> int:
        """Threads that a kernel works on."""
        return int(self.functions.mindformers_kernels_threads())

    def release(self) -> int:
        """Give the memory that kernels keep between calls back to the system and return its bytes."""
        return int(self.functions.mindformers_kernels_release())

    def uses(self) -> Dict[str, Tuple[int, float]]:
        """Return how often every kernel has run since the last call of this method, and for how many seconds."""
        text = ctypes.create_string_buffer(1 << 16)
        self.functions.mindformers_kernels_uses(text, len(text))
        fields = (line.split() for line in text.value.decode().splitlines())
        return {name[len("mindformers_") :]: (int(calls), float(seconds)) for name, calls, seconds in fields}

    def last_error(self) -> str:
        """Return what the last kernel that failed said, with the shapes of its arguments, and forget it."""
        text = ctypes.create_string_buffer(4096)
        self.functions.mindformers_kernels_error(text, len(text))
        return text.value.decode(errors="replace")


class UnusableError(Exception):
    """Why there are no kernels."""


def load(file: Path = FILE) -> Library:
    """Return the library of a file.

    Raises:
        UnusableError: when there is none, or the one in mindspore does not fit it.
        UsageError: when the file is no such library, or one of another version of this package.
    """
    if not file.is_file():
        raise UnusableError(f"{file} was not built: install a C++ compiler and run pip install again")
    try:
        functions = ctypes.CDLL(str(file))
        made_for = int(functions.mindformers_kernels_format())
    except (OSError, AttributeError) as error:
        raise UsageError(
            f"{file} is not a library of these kernels ({error}): delete it and run pip install again, "
            f"or set {SWITCH}=off"
        ) from error
    if made_for != FORMAT:
        raise UsageError(
            f"{file} is of format {made_for} and this package calls format {FORMAT}: run pip install again, "
            f"or set {SWITCH}=off"
        )
    functions.mindformers_kernels_open.argtypes = [ctypes.c_char_p, ctypes.c_char_p, ctypes.c_size_t]
    functions.mindformers_kernels_error.argtypes = [ctypes.c_char_p, ctypes.c_size_t]
    functions.mindformers_kernels_error.restype = None
    functions.mindformers_kernels_uses.argtypes = [ctypes.c_char_p, ctypes.c_size_t]
    functions.mindformers_kernels_uses.restype = None
    functions.mindformers_kernels_release.restype = ctypes.c_size_t
    why = ctypes.create_string_buffer(1024)
    isa = functions.mindformers_kernels_open(str(_onednn_file()).encode(), why, len(why))
    if isa < 0:
        raise UnusableError(f"oneDNN of the mindspore package cannot be used: {why.value.decode(errors='replace')}")
    version = functions.mindformers_kernels_onednn_version()
    return Library(
        path=file,
        functions=functions,
        instruction_set=INSTRUCTION_SETS[functions.mindformers_kernels_isa()],
        onednn=f"{version // 10000}.{version // 100 % 100}.{version % 100}",
        has_bfloat16=isa & AVX512_BF16 == AVX512_BF16,
    )


def _onednn_file() -> Path:
    spec = find_spec("mindspore")
    for folder in (spec.submodule_search_locations or []) if spec else []:
        for file in sorted(Path(folder, "lib").glob("libdnnl.so.*")):
            return file
    raise UnusableError("the mindspore package has no libdnnl.so")


@functools.cache
def find() -> Optional[Library]:
    """Return the library of this process, or None; the log says once why there is none."""
    switch = os.environ.get(SWITCH, "on").lower()
    if switch in ("off", "0", "false"):
        logger.info("CPU kernels: switched off by %s=%s", SWITCH, switch)
        return None
    try:
        found = load()
    except UnusableError as reason:
        logger.info("CPU kernels: not used; %s", reason)
        return None
    logger.debug("CPU kernels: %s, oneDNN %s, %d threads", found.instruction_set, found.onednn, found.threads)
    return found


def usable() -> bool:
    """Return whether cells that are made now compute with the library."""
    if ms.get_context("device_target") != "CPU" or ms.get_auto_parallel_context("parallel_mode") not in PLAIN_MODES:
        return False
    return find() is not None


def has_bfloat16() -> bool:
    """Return whether the library is usable and products of bfloat16 are fast on this processor."""
    found = find() if usable() else None
    return found is not None and found.has_bfloat16


NOTHING = Tensor([0.0], ms.float32)
"""In the place of an input that a use of an operator has not."""


def custom(name: str, shapes, dtypes) -> ops.Custom:
    """Return the operator of the library's function `mindformers_<name>`.

    `shapes` and `dtypes` are functions of the inputs' shapes and dtypes and return those of the outputs.
    """
    found = find()
    assert found is not None, "kernels are made only when they are usable"
    operator = ops.Custom(f"{found.path}:mindformers_{name}", out_shape=shapes, out_dtype=dtypes, func_type="aot")
    # MindSpore (2.10) takes operators with equal attributes for one and keeps what the first one's outputs were.
    operator.add_prim_attr("number", next(_numbers))
    return operator


def declare_writes(operator: ops.Custom, inputs: int, written: Container[int]) -> None:
    """Tell MindSpore which of an operator's `inputs` are Parameters that it writes into, so that graphs keep order."""
    operator.add_prim_attr("side_effect_mem", True)
    access = [signature.sig_rw.RW_WRITE if place in written else signature.sig_rw.RW_READ for place in range(inputs)]
    operator.set_signatures([signature.make_sig(f"input{place}", kind) for place, kind in enumerate(access)])


def settings(*numbers: float) -> Tensor:
    """Return the last input of an operator: float64, which holds every integer of 32 bits and every rate exactly."""
    return Tensor(np.array(numbers, np.float64))
