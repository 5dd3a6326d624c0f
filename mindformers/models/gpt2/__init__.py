"""GPT-2 (Radford et al. 2019)."""

from mindformers.lazy import exports

__getattr__, __all__ = exports(
    __name__,
    config=["GPT2Config"],
    model=[
        "GPT2Model",
        "GPT2LMHeadModel",
        "GPT2ForSequenceClassification",
        "GPT2ForTokenClassification",
    ],
)
