"""Every built-in name in one place: what it stands for and which options it takes. Nothing is imported here."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Dict, Mapping, Tuple

from mindformers.registry import Entry, Registry
from mindformers.registry import MindFormerModuleType as Type

OPTIONS = "mindformers.config.options"
NONE = f"{OPTIONS}:NoOptions"
SCHEDULES = "mindformers.optim.schedules"
TOKENIZERS = "mindformers.config.tokenizer_options"
SENTENCEPIECE = "mindformers.tokenizers.sentencepiece_models"


@dataclass(frozen=True)
class Task:
    """What a task name stands for."""

    head: str
    """Suffix of the model classes that carry the task, e.g. ``ForQuestionAnswering``."""
    dataset: str
    """The data loader that reads the task's usual format."""
    runner: str = "runners"
    context: str = "graph mode; data parallel"
    default_model: str = ""
    """Run configuration that `Trainer(task=...)` takes when no model is named."""


TASKS: Dict[str, Task] = {
    "question_answering": Task("ForQuestionAnswering", "SQuADDataLoader", default_model="qa_bert_base_uncased"),
    "token_classification": Task(
        "ForTokenClassification", "CLUENERDataLoader", default_model="tokcls_bert_base_chinese"
    ),
    "text_classification": Task(
        "ForSequenceClassification", "TextClassificationDataLoader", default_model="txtcls_bert_base_uncased"
    ),
    "masked_language_modeling": Task("ForMaskedLM", "MaskedTextDataLoader", default_model="bert_base_uncased"),
    "translation": Task("ForSeq2SeqLM", "TranslationDataLoader", default_model="t5_small"),
    "text_generation": Task("ForCausalLM", "TextDataLoader", default_model="gpt2"),
}

ENCODER_HEADS = ("", "ForMaskedLM", "ForSequenceClassification", "ForTokenClassification", "ForQuestionAnswering")
PRE_TRAINED_HEADS = (*ENCODER_HEADS, "ForPreTraining")
DECODER_HEADS = ("", "ForCausalLM", "ForSequenceClassification", "ForTokenClassification")


@dataclass(frozen=True)
class Family:
    """A model family: where it lives, and its class for each head."""

    prefix: str
    """Beginning of its class names."""
    package: str
    heads: Tuple[str, ...]
    """Endings of its classes, "" for the model without a head."""
    names: Mapping[str, str] = field(default_factory=dict)
    """Ending -> class name where it is not prefix + ending."""

    @property
    def config(self) -> str:
        """Name of the configuration class."""
        return f"{self.prefix}Config"

    @property
    def classes(self) -> Dict[str, str]:
        """Ending -> class name."""
        return {head: self.names.get(head, self.prefix + (head or "Model")) for head in self.heads}


_M = "mindformers.models"
FAMILIES: Dict[str, Family] = {
    "bert": Family("Bert", f"{_M}.bert", PRE_TRAINED_HEADS),
    "roberta": Family("Roberta", f"{_M}.roberta", ENCODER_HEADS),
    "albert": Family("Albert", f"{_M}.albert", PRE_TRAINED_HEADS),
    "gpt2": Family("GPT2", f"{_M}.gpt2", DECODER_HEADS, {"ForCausalLM": "GPT2LMHeadModel"}),
    "llama": Family("Llama", f"{_M}.llama", DECODER_HEADS),
    "baichuan": Family("Baichuan", f"{_M}.baichuan", DECODER_HEADS[:3]),
    "bloom": Family("Bloom", f"{_M}.bloom", DECODER_HEADS),
    "internlm": Family("InternLM", f"{_M}.internlm", DECODER_HEADS[:3]),
    "aquila": Family("Aquila", f"{_M}.aquila", DECODER_HEADS[:3]),
    "t5": Family("T5", f"{_M}.t5", ("", "ForSeq2SeqLM"), {"ForSeq2SeqLM": "T5ForConditionalGeneration"}),
}
"""Hugging Face's `model_type` -> the family."""

RELATIVES: Dict[str, str] = {
    **dict.fromkeys(
        ("mistral", "qwen2", "qwen3", "gemma", "phi", "phi3", "cohere", "deepseek", "yi", "internlm2"), "llama"
    ),
    **dict.fromkeys(("gpt_neo", "gptj", "gpt_neox", "opt", "gpt_bigcode", "openai-gpt"), "gpt2"),
    **dict.fromkeys(("falcon", "mpt"), "bloom"),
    **dict.fromkeys(("distilbert", "electra", "deberta", "deberta-v2", "mobilebert"), "bert"),
    **dict.fromkeys(("xlm-roberta", "camembert", "longformer", "modernbert"), "roberta"),
    **dict.fromkeys(("mt5", "umt5", "bart", "mbart", "pegasus"), "t5"),
}
"""Families that nobody carries here -> the one that is built most alike, to start a new one from."""

MODEL_ALIASES: Dict[str, Tuple[str, ...]] = {
    "BertForSequenceClassification": ("BertForMultipleChoice",),
    "GPT2LMHeadModel": ("GPT2ForCausalLM",),
    "BaichuanForCausalLM": ("BaiChuanForCausalLM",),
}
"""Other names that configurations use."""

_T = "mindformers.tasks"
_CATALOG: Dict[str, Dict[str, Entry]] = {
    Type.TRAINER: {
        "general": Entry(f"{_T}.general:GeneralTask", about="a user's own model and dataset"),
        "question_answering": Entry(
            f"{_T}.question_answering:QuestionAnsweringTask",
            aliases=("QuestionAnsweringTrainer",),
            about="mark the answer to a question in a text",
        ),
        "text_classification": Entry(
            f"{_T}.text_classification:TextClassificationTask",
            aliases=("TextClassificationTrainer",),
            about="a label for a text or a pair of texts, or a number",
        ),
        "token_classification": Entry(
            f"{_T}.token_classification:TokenClassificationTask",
            aliases=("TokenClassificationTrainer",),
            about="find the names in a text and say of what type they are",
        ),
        "masked_language_modeling": Entry(
            f"{_T}.masked_language_modeling:MaskedLanguageModelingTask",
            aliases=("fill_mask", "MaskedLanguageModelingTrainer"),
            about="find the tokens behind masks",
        ),
        "text_generation": Entry(
            f"{_T}.text_generation:TextGenerationTask",
            aliases=("CausalLanguageModelingTrainer",),
            about="predict the next token: training and perplexity",
        ),
        "translation": Entry(
            f"{_T}.translation:TranslationTask",
            aliases=("TranslationTrainer",),
            about="a text into a text of another language",
        ),
    },
    Type.MODELS: {
        **{
            name: Entry(f"{family.package}:{name}", NONE, aliases=MODEL_ALIASES.get(name, ()))
            for family in FAMILIES.values()
            for name in family.classes.values()
        },
    },
    Type.CONFIG: {
        family.config: Entry(f"{family.package}.config:{family.config}", f"{family.package}.config:{family.config}")
        for family in FAMILIES.values()
    },
    Type.OPTIMIZER: {
        "adamw": Entry(
            "mindformers.optim.adamw:AdamW",
            f"{OPTIONS}:AdamW",
            aliases=(
                "AdamWeightDecay",
                "FusedAdamWeightDecay",
                "fused_adamw",
                "fp32_adamw",
                "FP32StateAdamWeightDecay",
            ),
        ),
        "adam": Entry("mindformers.optim.adamw:Adam", f"{OPTIONS}:Adam", aliases=("Adam",)),
        "sgd": Entry("mindformers.optim.gradient_descent:SGD", f"{OPTIONS}:SGD", aliases=("SGD", "Momentum")),
        "adagrad": Entry("mindformers.optim.gradient_descent:Adagrad", f"{OPTIONS}:Adagrad", aliases=("Adagrad",)),
        "adafactor": Entry("mindformers.optim.layerwise:Adafactor", f"{OPTIONS}:Adafactor", aliases=("Adafactor",)),
        "lamb": Entry("mindformers.optim.layerwise:Lamb", f"{OPTIONS}:Lamb", aliases=("Lamb",)),
    },
    Type.LR: {
        "constant_with_warmup": Entry(
            f"{SCHEDULES}:constant_with_warmup", f"{OPTIONS}:LinearSchedule", aliases=("constant",)
        ),
        "linear": Entry(f"{SCHEDULES}:linear", f"{OPTIONS}:LinearSchedule"),
        "cosine": Entry(
            f"{SCHEDULES}:cosine", f"{OPTIONS}:CosineSchedule", aliases=("WarmUpCosineDecayV1", "WarmUpCosineDecayV2")
        ),
        "cosine_with_restarts": Entry(f"{SCHEDULES}:cosine_with_restarts", f"{OPTIONS}:CosineRestartsSchedule"),
        "polynomial": Entry(f"{SCHEDULES}:polynomial", f"{OPTIONS}:PolynomialSchedule", aliases=("WarmUpDecayLR",)),
    },
    Type.WRAPPER: {
        "TrainOneStepCell": Entry("mindformers.train.step:TrainStep", f"{OPTIONS}:OneStep"),
        "TrainOneStepWithClipGN": Entry("mindformers.train.step:TrainStep", f"{OPTIONS}:OneStep"),
        "MFTrainOneStepCell": Entry("mindformers.train.step:TrainStep", f"{OPTIONS}:ScaledStep"),
        "MFPipelineWithLossScaleCell": Entry(None, f"{OPTIONS}:ScaledStep"),
    },
    Type.CALLBACK: {
        "MFLossMonitor": Entry(
            "mindformers.train.loss_monitor:LossMonitor", f"{OPTIONS}:LossMonitor", aliases=("LossMonitor",)
        ),
        "SummaryMonitor": Entry("mindformers.train.scalars:ScalarWriter", f"{OPTIONS}:SummaryMonitor"),
        "CheckpointMonitor": Entry(
            "mindformers.train.checkpoint_callback:CheckpointMonitor",
            f"{OPTIONS}:CheckpointMonitor",
            aliases=("CheckpointMointor",),
        ),
        "EarlyStopping": Entry("mindformers.train.early_stopping:EarlyStopping", f"{OPTIONS}:EarlyStopping"),
        "Freeze": Entry("mindformers.train.freeze:Freeze", "mindformers.config.callback_options:Freeze"),
        "SampleText": Entry(
            "mindformers.train.sample_text:SampleText", "mindformers.config.callback_options:SampleText"
        ),
        "ObsMonitor": Entry(None, f"{OPTIONS}:ObsMonitor"),
    },
    Type.RUNNER: {
        "train": Entry("mindformers.runners.train:TrainRunner", NONE),
        "evaluate": Entry("mindformers.runners.evaluate:EvaluateRunner", NONE),
        "predict": Entry("mindformers.runners.predict:PredictRunner", NONE),
    },
    Type.METRIC: {
        "SQuADMetric": Entry("mindformers.evaluate.span_metric:SpanMetric", f"{OPTIONS}:SQuADMetric"),
        "MaskedLMMetric": Entry("mindformers.evaluate.masked_lm:MaskedLMMetric", NONE),
        "PerplexityMetric": Entry("mindformers.evaluate.perplexity:PerplexityMetric", NONE),
        "Accuracy": Entry("mindformers.evaluate.glue:LabelMetric", f"{OPTIONS}:Accuracy"),
        "TextClassificationMetric": Entry(
            "mindformers.evaluate.glue:LabelMetric", f"{OPTIONS}:TextClassificationMetric"
        ),
        "BLEU": Entry("mindformers.evaluate.translation:BLEU", "mindformers.config.translation_options:BLEUMetric"),
        "EntityScore": Entry("mindformers.evaluate.entities:EntityMetric", f"{OPTIONS}:EntityScore"),
    },
    Type.DATASET_LOADER: {
        "SQuADDataLoader": Entry("mindformers.data.squad:SQuADDataLoader", f"{OPTIONS}:SQuADLoader"),
        "TextClassificationDataLoader": Entry(
            "mindformers.data.labelled_texts:TextClassificationDataLoader", f"{OPTIONS}:TextClassificationLoader"
        ),
        "CLUENERDataLoader": Entry("mindformers.data.entities:CLUENERDataLoader", f"{OPTIONS}:EntityLoader"),
        "CoNLLDataLoader": Entry("mindformers.data.entities:CoNLLDataLoader", f"{OPTIONS}:ColumnLoader"),
        "TranslationDataLoader": Entry(
            "mindformers.data.parallel_text:TranslationDataLoader",
            "mindformers.config.translation_options:TranslationLoader",
            aliases=("WMT16DataLoader",),
        ),
        "TFRecordDataset": Entry("mindformers.data.tf_records:TFRecordDataset", f"{OPTIONS}:FilesLoader"),
        "MindDataset": Entry("mindformers.data.records:MindDataset", f"{OPTIONS}:FilesLoader"),
        "TextDataLoader": Entry("mindformers.data.text_documents:TextDataLoader", f"{OPTIONS}:TextLoader"),
        "MaskedTextDataLoader": Entry(
            "mindformers.data.masked_text:MaskedTextDataLoader",
            "mindformers.config.masked_text_options:MaskedTextLoader",
        ),
        "IndexedDataLoader": Entry("mindformers.data.indexed:IndexedDataLoader", f"{OPTIONS}:BlockLoader"),
    },
    Type.TOKENIZER: {
        "BertTokenizer": Entry("mindformers.tokenizers.wordpiece:BertTokenizer", f"{TOKENIZERS}:WordPiece"),
        **{
            name: Entry(f"mindformers.tokenizers.byte_level:{name}", f"{TOKENIZERS}:ByteLevelTokenizer")
            for name in ("GPT2Tokenizer", "RobertaTokenizer", "BloomTokenizer")
        },
        **{
            name: Entry(f"{SENTENCEPIECE}:{name}", f"{TOKENIZERS}:SentencePieceTokenizer")
            for name in ("LlamaTokenizer", "BaichuanTokenizer", "InternLMTokenizer")
        },
        "CharacterTokenizer": Entry(
            "mindformers.tokenizers.characters:CharacterTokenizer", f"{TOKENIZERS}:PretrainedTokenizer"
        ),
        "AlbertTokenizer": Entry(f"{SENTENCEPIECE}:AlbertTokenizer", f"{TOKENIZERS}:AlbertTokenizer"),
        "T5Tokenizer": Entry(f"{SENTENCEPIECE}:T5Tokenizer", f"{TOKENIZERS}:T5Tokenizer", aliases=("t5_small",)),
    },
    Type.PROCESSOR: {
        "TextProcessor": Entry(
            "mindformers.models.processor:TextProcessor",
            aliases=tuple(
                f"{prefix}Processor" for prefix in ("Bert", "GPT2", "T5", "Roberta", "Albert", "Llama", "Bloom")
            ),
        ),
    },
}


def _registry() -> Registry:
    registry = Registry()
    for module_type, entries in _CATALOG.items():
        for name, entry in entries.items():
            registry.add(module_type, name, entry)
    return registry


REGISTRY = _registry()
