"""mindformers: transformers on MindSpore, configured by YAML. Names are imported when they are first used."""

from __future__ import annotations

from mindformers.catalog import FAMILIES
from mindformers.lazy import exports

__version__ = "0.4.0"

_SHORT = {
    "trainer": ["Trainer"],
    "training_arguments": ["TrainingArguments"],
    "pipelines": ["pipeline"],
    "generation.settings": ["GenerationConfig"],
    "tools.register": ["MindFormerRegister", "MindFormerModuleType"],
    "models.auto": [
        "AutoConfig",
        "AutoModel",
        "AutoModelForCausalLM",
        "AutoModelForMaskedLM",
        "AutoModelForPreTraining",
        "AutoModelForQuestionAnswering",
        "AutoModelForSeq2SeqLM",
        "AutoModelForSequenceClassification",
        "AutoModelForTokenClassification",
        "AutoProcessor",
    ],
    "tokenizers.auto": ["AutoTokenizer"],
    "tokenizers.wordpiece": ["BertTokenizer"],
    "tokenizers.byte_level": ["BloomTokenizer", "GPT2Tokenizer", "RobertaTokenizer"],
    "tokenizers.sentencepiece_models": [
        "AlbertTokenizer",
        "BaichuanTokenizer",
        "InternLMTokenizer",
        "LlamaTokenizer",
        "T5Tokenizer",
    ],
}
_FAMILIES = {
    family.package.removeprefix("mindformers."): [family.config, *family.classes.values()]
    for family in FAMILIES.values()
}

__getattr__, _names = exports(__name__, **_SHORT, **_FAMILIES)
__all__ = ["__version__", *_names]
