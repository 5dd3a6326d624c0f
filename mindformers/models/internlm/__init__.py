"""InternLM (InternLM team 2023)."""

from mindformers.lazy import exports

__getattr__, __all__ = exports(
    __name__,
    config=["InternLMConfig"],
    model=[
        "InternLMModel",
        "InternLMForCausalLM",
        "InternLMForSequenceClassification",
    ],
)
