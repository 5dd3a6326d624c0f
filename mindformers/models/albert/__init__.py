"""ALBERT (Lan et al. 2019, arXiv:1909.11942)."""

from mindformers.lazy import exports

__getattr__, __all__ = exports(
    __name__,
    config=["AlbertConfig"],
    model=[
        "AlbertModel",
        "AlbertForMaskedLM",
        "AlbertForPreTraining",
        "AlbertForSequenceClassification",
        "AlbertForTokenClassification",
        "AlbertForQuestionAnswering",
    ],
)
