"""What `task_vs_hf.py` trains on both sides: one `Setting` for each task and data set."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Setting:
    """What is trained."""

    task: str
    head: str
    """Ending of the model's class name."""
    data: str
    """Folder of the data set within --data; empty where --data is that folder."""
    loader: dict[str, Any]
    """The section `data_loader`."""
    num_labels: int | None
    """Outputs of a classifier."""
    seq_length: int
    batch_size: int = 32
    epochs: int = 3
    learning_rate: float = 1e-4
    warmup_ratio: float = 0.1
    weight_decay: float = 0.01
    max_grad_norm: float = 1.0
    rows: int | None = None
    """Training rows, the first ones; None: all."""
    dropout: float | None = None
    """In place of the weights' own."""
    metric: dict[str, Any] | None = None
    """The section `metric`."""
    eval_loader: dict[str, Any] = field(default_factory=dict)
    """What the section has different in evaluation."""
    sizes: dict[str, Any] | None = None
    """Keys of config.json of a model that starts from scratch, beside those in the folder; None: from its weights."""
    compute_dtype: str = "float32"
    """What our side computes in."""
    model: str = "BertConfig"
    """Type of the section `model_config`."""
    tokenizer: dict[str, Any] = field(default_factory=lambda: {"type": "BertTokenizer"})

    def model_section(self) -> dict[str, Any]:
        """Return the section `model_config`."""
        return {"type": self.model, "seq_length": self.seq_length, "compute_dtype": self.compute_dtype}

    def config(self, data: Path, seed: int, output: Path) -> dict[str, Any]:
        """Return the configuration of the run on our side."""
        loader = {**self.loader, "dataset_dir": str(data / self.data)}
        return {
            "seed": seed,
            "output_dir": str(output),
            "train_dataset": {
                "data_loader": {**loader, "num_samples": self.rows},
                "tokenizer": self.tokenizer,
                "drop_remainder": False,
                "seed": seed,
            },
            "eval_dataset": {"data_loader": {**loader, **self.eval_loader}, "tokenizer": self.tokenizer},
            "model": {"model_config": self.model_section()},
            "runner_config": {"epochs": self.epochs, "batch_size": self.batch_size},
            "runner_wrapper": {
                "type": "TrainOneStepCell",
                "use_clip_grad": True,
                "max_grad_norm": self.max_grad_norm,
            },
            "optimizer": {
                "type": "adamw",
                "weight_decay": self.weight_decay,
                "beta1": 0.9,
                "beta2": 0.999,
                "eps": 1e-8,
            },
            "lr_schedule": {
                "type": "linear",
                "learning_rate": self.learning_rate,
                "warmup_ratio": self.warmup_ratio,
            },
            "callbacks": [{"type": "MFLossMonitor"}, {"type": "CheckpointMonitor", "save_checkpoint_steps": 100000}],
            "metric": self.metric,
        }


def glue(name: str, folder: str, num_labels: int, seq_length: int, **changes: Any) -> Setting:
    loader = {"type": "TextClassificationDataLoader", "task_name": name}
    metric = {"type": "TextClassificationMetric"}
    return Setting(
        "text_classification",
        "ForSequenceClassification",
        f"glue/{folder}",
        loader,
        num_labels,
        seq_length,
        metric=metric,
        **changes,
    )


def squad(**changes: Any) -> Setting:
    loader = {"type": "SQuADDataLoader"}
    return Setting("question_answering", "ForQuestionAnswering", "", loader, None, **changes)


SETTINGS = {
    "question_answering": {
        "short": squad(
            seq_length=192, batch_size=8, epochs=1, learning_rate=3e-4, rows=2400, eval_loader={"num_samples": 400}
        ),
        "full": squad(seq_length=384, batch_size=12, epochs=2),
    },
    "text_classification": {
        "sst2": glue("sst2", "SST-2", 2, 66),
        "mrpc": glue("mrpc", "MRPC", 2, 128),
        "stsb": glue("stsb", "STS-B", 1, 128),
    },
    "masked_language_modeling": {
        "wikitext-2": Setting(
            "masked_language_modeling",
            "ForMaskedLM",
            "wikitext-2",
            {"type": "MaskedTextDataLoader", "stage": "test", "max_predictions_per_seq": 10},
            num_labels=None,
            seq_length=64,
            learning_rate=1e-3,
            eval_loader={"stage": "dev"},
            sizes={"num_hidden_layers": 2, "hidden_size": 128, "num_attention_heads": 2, "intermediate_size": 512},
        ),
    },
    "token_classification": {
        "cluener": Setting(
            "token_classification",
            "ForTokenClassification",
            "cluener",
            {"type": "CLUENERDataLoader"},
            num_labels=31,
            seq_length=64,
            learning_rate=3e-4,
            epochs=6,
            metric={"type": "EntityScore"},
            sizes={
                "vocab_size": 21128,
                "num_hidden_layers": 4,
                "hidden_size": 256,
                "num_attention_heads": 4,
                "intermediate_size": 1024,
            },
        ),
    },
    "translation": {
        "multi30k": Setting(
            "translation",
            "ForSeq2SeqLM",
            "multi30k",
            {"type": "TranslationDataLoader", "source_lang": "en", "target_lang": "de"},
            num_labels=None,
            seq_length=64,
            batch_size=64,
            epochs=6,
            learning_rate=2e-3,
            metric={"type": "BLEU"},
            sizes={"num_layers": 2, "d_model": 256, "num_heads": 8, "d_kv": 32, "d_ff": 1024, "dropout_rate": 0.1},
            model="T5Config",
            tokenizer={"type": "T5Tokenizer", "src_max_length": 64, "tgt_max_length": 64},
        ),
    },
}
"""Task -> data set -> setting."""
