"""RoBERTa (Liu et al. 2019, arXiv:1907.11692)."""

from mindformers.lazy import exports

__getattr__, __all__ = exports(
    __name__,
    config=["RobertaConfig"],
    model=[
        "RobertaModel",
        "RobertaForMaskedLM",
        "RobertaForSequenceClassification",
        "RobertaForTokenClassification",
        "RobertaForQuestionAnswering",
    ],
)
