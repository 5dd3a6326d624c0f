"""Bloom (Le Scao et al. 2022, arXiv:2211.05100)."""

from mindformers.lazy import exports

__getattr__, __all__ = exports(
    __name__,
    config=["BloomConfig"],
    model=[
        "BloomModel",
        "BloomForCausalLM",
        "BloomForSequenceClassification",
        "BloomForTokenClassification",
    ],
)
