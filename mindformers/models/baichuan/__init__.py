"""Baichuan (Yang et al. 2023, arXiv:2309.10305)."""

from mindformers.lazy import exports

__getattr__, __all__ = exports(
    __name__,
    config=["BaichuanConfig"],
    model=[
        "BaichuanModel",
        "BaichuanForCausalLM",
        "BaichuanForSequenceClassification",
    ],
)
