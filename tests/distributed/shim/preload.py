"""Build the library that lets MindSpore's parallel compiler work for CPU processes, and use it in one: tests alone."""

import ctypes
import os
import subprocess
from pathlib import Path

from mindspore.communication import create_group, get_group_size, get_rank

SOURCE = Path(__file__).with_name("cpu_parallel.cc")
WORLD = "nccl_world_group"
"""Name that the compiler gives the group of all processes on a device that is called GPU."""
MAKE_GROUP = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_char_p, ctypes.POINTER(ctypes.c_uint32), ctypes.c_uint32)


def build(folder: Path) -> Path:
    """Return the library, built in `folder`; processes start with it as `LD_PRELOAD`."""
    library = folder / "libcpu_parallel.so"
    options = ["-shared", "-fPIC", "-std=c++17", "-O1", "-Wall", "-Werror", "-D_GLIBCXX_USE_CXX11_ABI=0"]
    subprocess.run(["g++", *options, "-o", str(library), str(SOURCE), "-ldl"], check=True)
    return library


@MAKE_GROUP
def _make(name, ranks, count):
    try:
        create_group(name.decode(), ranks[:count])
    except Exception as error:  # may not pass through the C++ that asks
        print(f"group {name.decode()} of ranks {ranks[:count]}: {error}", flush=True)
        return 0
    return 1


def join() -> None:
    """Let the compiler make groups of the processes that have joined: after `mindspore.communication.init`."""
    create_group(WORLD, list(range(get_group_size())))
    library = ctypes.CDLL(os.environ["LD_PRELOAD"])
    library.join_processes(get_rank(), get_group_size(), _make)
