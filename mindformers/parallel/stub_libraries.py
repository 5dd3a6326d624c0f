"""Empty CUDA libraries, so that MindSpore's parallel compiler runs on a machine without accelerators.

MindSpore 2.10 refuses the compiler for the device CPU; that of its GPU plugin computes nothing until a kernel is built,
and the plugin only wants its libraries to load. They are made with gcc from the symbols that it leaves undefined:
each answers with success, a few with the properties of a device.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import re
import shutil
import subprocess
from collections import defaultdict
from importlib.metadata import version
from pathlib import Path
from typing import Dict, List, Set

from mindformers.errors import UsageError
from mindformers.log import logger

PLUGIN = "lib/plugin/libmindspore_gpu.so.11.6"
OPERATORS = "lib/plugin/gpu/libcuda_ops.so.11"
CUDA = "11.6"
RUNTIME, DRIVER = "libcudart.so.11.0", "libcuda.so.1"
LINKS = {
    RUNTIME: "libcudart.so.11.6.55",
    "libcudart.so": "libcudart.so.11.6.55",
    "libcudnn.so.8.5.0": "libcudnn.so.8",
}
"""Further names of libraries: MindSpore reads versions from them."""
LOOKED_UP = {"cuInit", "cuDriverGetVersion", "cuDeviceGetCount", "cuDeviceGetAttribute"}
"""Symbols of the driver that are found by name, not linked."""

HEADER = """#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
"""
ANSWERS = {
    "cudaGetDeviceCount": "int cudaGetDeviceCount(int *n) { *n = 8; return 0; }",
    "cuDeviceGetCount": "int cuDeviceGetCount(int *n) { *n = 8; return 0; }",
    "cudaGetDevice": "int cudaGetDevice(int *n) { *n = 0; return 0; }",
    "cudaRuntimeGetVersion": "int cudaRuntimeGetVersion(int *n) { *n = 11060; return 0; }",
    "cudaDriverGetVersion": "int cudaDriverGetVersion(int *n) { *n = 11060; return 0; }",
    "cuDriverGetVersion": "int cuDriverGetVersion(int *n) { *n = 11060; return 0; }",
    "cuDeviceGetAttribute": "int cuDeviceGetAttribute(int *v, int what, int d) { *v = what == 75 ? 8 : 0; return 0; }",
    "cuGetErrorName": 'int cuGetErrorName(int e, const char **s) { *s = "stub"; return 0; }',
    "cudaMemGetInfo": "int cudaMemGetInfo(size_t *f, size_t *t) { *f = *t = (size_t)64 << 30; return 0; }",
    "cudaMalloc": "int cudaMalloc(void **p, size_t n) { *p = mmap(0, n ? n : 1, PROT_READ | PROT_WRITE, "
    "MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0); return *p == MAP_FAILED ? 2 : 0; }",
    "cudaMallocHost": "int cudaMallocHost(void **p, size_t n) { *p = malloc(n ? n : 1); return 0; }",
    "cudaHostAlloc": "int cudaHostAlloc(void **p, size_t n, unsigned f) { *p = malloc(n ? n : 1); return 0; }",
    "cudaMemcpy": "int cudaMemcpy(void *d, const void *s, size_t n, int k) { memcpy(d, s, n); return 0; }",
    "cudaMemcpyAsync": "int cudaMemcpyAsync(void *d, const void *s, size_t n, int k, void *t) "
    "{ memcpy(d, s, n); return 0; }",
    # struct cudaDeviceProp of CUDA 11: bytes of memory at 288, threads of a block at 320 ..., 108 processors at 388.
    "cudaGetDeviceProperties": "int cudaGetDeviceProperties(char *p, int d) { static const int limits[] = "
    "{1024, 1024, 1024, 64, 2147483647, 65535, 65535}; memset(p, 0, 728); strcpy(p, \"stub\"); "
    "*(size_t *)(p + 288) = (size_t)64 << 30; *(size_t *)(p + 296) = 49152; *(int *)(p + 304) = 65536; "
    "*(int *)(p + 308) = 32; *(size_t *)(p + 312) = 1 << 30; memcpy(p + 320, limits, sizeof limits); "
    "*(int *)(p + 360) = 8; *(int *)(p + 388) = 108; return 0; }",
}  # fmt: skip
"""Symbol -> its definition, where an empty answer would not do."""
_TEXT = re.compile(r"(GetErrorString|GetErrorName|GetStatusString|_getErrorString)$")


def stub_libraries() -> Path:
    """Return the folder of the libraries (`lib64`, `bin`), made when they are used first.

    Raises UsageError when MindSpore's GPU plugin, gcc or readelf is missing.
    """
    package = mindspore_folder()
    if not (package / PLUGIN).is_file():
        raise UsageError(
            f"--compile needs {PLUGIN} of the MindSpore package, which is not in {package}; install the wheel of "
            "x86-64 Linux, or run it where Ascend software is installed"
        )
    key = hashlib.sha256((version("mindspore") + Path(__file__).read_text(encoding="utf-8")).encode()).hexdigest()[:12]
    folder = _cache() / f"stub-cuda-{version('mindspore')}-{key}"
    if not folder.is_dir():
        _build(package, folder)
    return folder


def mindspore_folder() -> Path:
    """Return the folder of the installed package; MindSpore is not imported."""
    spec = importlib.util.find_spec("mindspore")
    if spec is None or not spec.submodule_search_locations:
        raise UsageError("--compile needs MindSpore, which is not installed; see README.md")
    return Path(next(iter(spec.submodule_search_locations)))


def _cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mindformers"


def _build(package: Path, folder: Path) -> None:
    missing = [tool for tool in ("gcc", "readelf") if shutil.which(tool) is None]
    if missing:
        raise UsageError(
            f"--compile builds stub libraries with gcc and readelf (binutils) once, and {' and '.join(missing)} is "
            "not installed; install it, e.g. with 'apt-get install gcc binutils', or leave --compile out"
        )
    logger.info("building stub libraries for the parallel compiler in %s", folder)
    partial = folder.with_name(f"{folder.name}.{os.getpid()}")
    libraries = partial / "lib64"
    libraries.mkdir(parents=True, exist_ok=True)
    for library, symbols in _undefined(package).items():
        _compile(libraries, library, symbols)
    for name, target in LINKS.items():
        (libraries / name).symlink_to(target)
    compiler = partial / "bin" / "nvcc"
    compiler.parent.mkdir()
    compiler.write_text(f'#!/bin/sh\necho "Cuda compilation tools, release {CUDA}, V{CUDA}.124"\n', encoding="utf-8")
    compiler.chmod(0o755)
    try:
        partial.rename(folder)
    except OSError:  # another process was faster
        shutil.rmtree(partial)


def _undefined(package: Path) -> Dict[str, Set[str]]:
    """Return the symbols that the plugin wants of each library that it needs."""
    needed = re.findall(r"Shared library: \[(lib(?:cu|nv).*?)\]", _read(package / PLUGIN, "-d"))
    found: Dict[str, Set[str]] = defaultdict(set, {DRIVER: set(LOOKED_UP)})
    for name in needed:
        if name != Path(OPERATORS).name:
            found[name] = found[name]
    for symbol, _, library in _symbols(package / PLUGIN):
        if library in found:
            found[library].add(symbol)
        elif not library and re.match(r"cu[A-Z]", symbol):
            found[DRIVER].add(symbol)
    for symbol, _, _ in _symbols(package / OPERATORS):
        if symbol.startswith(("cufft", "cublas")):
            found["libcufft.so.10" if symbol.startswith("cufft") else "libcublas.so.11"].add(symbol)
    return found


def _symbols(library: Path) -> List[List[str]]:
    """Return the undefined symbols of a library, as [name, "@", library of its version]."""
    rows = (line.split() for line in _read(library, "--dyn-syms").splitlines())
    return [list(row[7].partition("@")) for row in rows if len(row) > 7 and row[6] == "UND"]


def _read(library: Path, what: str) -> str:
    return subprocess.run(["readelf", "-W", what, str(library)], capture_output=True, text=True, check=True).stdout


def _compile(folder: Path, library: str, symbols: Set[str]) -> None:
    source = HEADER + "\n".join(_stub(symbol, library) for symbol in sorted(symbols)) + "\n"
    command = ["gcc", "-shared", "-fPIC", "-w", "-fno-builtin", "-x", "c", "-", f"-Wl,-soname,{library}"]
    command += ["-o", str(folder / LINKS.get(library, library))]
    if library != DRIVER:  # the plugin asks for symbols of this version
        versions = folder.parent / f"{library}.map"  # MindSpore reads versions of CUDA from the names in `lib64`
        versions.write_text(f"{library} {{ global: *; }};\n", encoding="utf-8")
        command.append(f"-Wl,--version-script,{versions}")
    done = subprocess.run(command, input=source, capture_output=True, text=True, check=False)
    if done.returncode:
        raise UsageError(f"gcc cannot build the stub library {library}: {done.stderr.strip()[-500:]}")


def _stub(symbol: str, library: str) -> str:
    if symbol in ANSWERS:
        return ANSWERS[symbol]
    if _TEXT.search(symbol) and library != DRIVER:
        return f'const char *{symbol}(int e) {{ return "stub"; }}'
    if "Create" in symbol:  # takes the address of a handle first
        return f"int {symbol}(void **h) {{ if (h) *h = malloc(4096); return 0; }}"
    return f"int {symbol}() {{ return 0; }}"
