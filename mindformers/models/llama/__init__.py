"""LLaMA (Touvron et al. 2023, arXiv:2302.13971, arXiv:2307.09288)."""

from mindformers.lazy import exports

__getattr__, __all__ = exports(
    __name__,
    config=["LlamaConfig"],
    model=[
        "LlamaModel",
        "LlamaForCausalLM",
        "LlamaForSequenceClassification",
        "LlamaForTokenClassification",
    ],
)
