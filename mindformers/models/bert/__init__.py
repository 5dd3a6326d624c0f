"""BERT (Devlin et al. 2019, arXiv:1810.04805)."""

from mindformers.lazy import exports

__getattr__, __all__ = exports(
    __name__,
    config=["BertConfig"],
    model=[
        "BertModel",
        "BertForMaskedLM",
        "BertForPreTraining",
        "BertForSequenceClassification",
        "BertForTokenClassification",
        "BertForQuestionAnswering",
    ],
)
