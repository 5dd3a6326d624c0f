"""Aquila (BAAI 2023)."""

from mindformers.lazy import exports

__getattr__, __all__ = exports(
    __name__,
    config=["AquilaConfig"],
    model=[
        "AquilaModel",
        "AquilaForCausalLM",
        "AquilaForSequenceClassification",
    ],
)
