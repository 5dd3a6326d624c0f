"""T5 (Raffel et al. 2020, arXiv:1910.10683)."""

from mindformers.lazy import exports

__getattr__, __all__ = exports(
    __name__,
    config=["T5Config"],
    model=[
        "T5Model",
        "T5ForConditionalGeneration",
    ],
)
