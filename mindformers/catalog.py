"""Every built-in name in one place: what it stands for and which options it takes. Nothing is imported here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Dict

from mindformers.registry import Entry, Registry
from mindformers.registry import MindFormerModuleType as Type

OPTIONS = "mindformers.config.options"
NONE = f"{OPTIONS}:NoOptions"
SCHEDULES = "mindformers.optim.schedules"


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
}

_T = "mindformers.tasks"
_CATALOG: Dict[str, Dict[str, Entry]] = {
    Type.TRAINER: {
        "general": Entry(f"{_T}.general:GeneralTask", about="a user's own model and dataset"),
        "question_answering": Entry(
            f"{_T}.question_answering:QuestionAnsweringTask",
            aliases=("QuestionAnsweringTrainer",),
            about="mark the answer to a question in a text",
        ),
        "text_classification": Entry(None, aliases=("TextClassificationTrainer",)),
        "token_classification": Entry(None, aliases=("TokenClassificationTrainer",)),
        "fill_mask": Entry(None, aliases=("MaskedLanguageModelingTrainer", "masked_language_modeling")),
        "text_generation": Entry(None, aliases=("CausalLanguageModelingTrainer",)),
        "translation": Entry(None, aliases=("TranslationTrainer",)),
    },
    Type.MODELS: {
        "BertModel": Entry("mindformers.models.bert:BertModel", NONE),
        "BertForQuestionAnswering": Entry("mindformers.models.bert:BertForQuestionAnswering", NONE),
        "BertForPreTraining": Entry(None, NONE),
        "BertForTokenClassification": Entry(None, NONE),
        "BertForSequenceClassification": Entry(None, NONE, aliases=("BertForMultipleChoice",)),
        "GPT2LMHeadModel": Entry(None, NONE),
        "T5ForConditionalGeneration": Entry(None, NONE),
    },
    Type.CONFIG: {
        "BertConfig": Entry("mindformers.models.bert.config:BertConfig", "mindformers.models.bert.config:BertConfig"),
        "GPT2Config": Entry("mindformers.models.gpt2.config:GPT2Config", "mindformers.models.gpt2.config:GPT2Config"),
        "T5Config": Entry("mindformers.models.t5.config:T5Config", "mindformers.models.t5.config:T5Config"),
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
        "ObsMonitor": Entry(None, f"{OPTIONS}:ObsMonitor"),
    },
    Type.RUNNER: {
        "train": Entry("mindformers.runners.train:TrainRunner", NONE),
        "evaluate": Entry("mindformers.runners.evaluate:EvaluateRunner", NONE),
        "predict": Entry("mindformers.runners.predict:PredictRunner", NONE),
    },
    Type.METRIC: {
        "SQuADMetric": Entry("mindformers.evaluate.span_metric:SpanMetric", f"{OPTIONS}:SQuADMetric"),
        "Accuracy": Entry(None, f"{OPTIONS}:Accuracy"),
        "EntityScore": Entry(None, NONE),
    },
    Type.DATASET_LOADER: {
        "SQuADDataLoader": Entry("mindformers.data.squad:SQuADDataLoader", f"{OPTIONS}:SQuADLoader"),
        "CLUENERDataLoader": Entry(None, f"{OPTIONS}:Loader"),
        "WMT16DataLoader": Entry(None, f"{OPTIONS}:Loader"),
        "TFRecordDataset": Entry(None, f"{OPTIONS}:FilesLoader"),
        "MindDataset": Entry(None, f"{OPTIONS}:FilesLoader"),
    },
    Type.TOKENIZER: {
        "BertTokenizer": Entry("mindformers.tokenizers.wordpiece:BertTokenizer", f"{OPTIONS}:WordPiece"),
        "GPT2Tokenizer": Entry(None, f"{OPTIONS}:PretrainedTokenizer"),
        "T5Tokenizer": Entry(None, f"{OPTIONS}:PretrainedTokenizer", aliases=("t5_small",)),
    },
    Type.PROCESSOR: {
        "BertProcessor": Entry(None, NONE),
        "GPT2Processor": Entry(None, NONE),
        "T5Processor": Entry(None, NONE),
    },
}


@dataclass(frozen=True)
class Family:
    """Where a model family lives."""

    prefix: str
    """Beginning of its class names."""
    package: str


FAMILIES: Dict[str, Family] = {
    "bert": Family("Bert", "mindformers.models.bert"),
}
"""Hugging Face's `model_type` -> the family."""


def _registry() -> Registry:
    registry = Registry()
    for module_type, entries in _CATALOG.items():
        for name, entry in entries.items():
            registry.add(module_type, name, entry)
    return registry


REGISTRY = _registry()
