"""Options of the built-in components, one dataclass per `type:`; the catalog says which type takes which."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Dict, List, Literal, Optional

ONE_TRUTH = "the tokenizer files of the weights say so"


# ---- optimizers


@dataclass(frozen=True)
class AdamW:
    """Decoupled weight decay (Loshchilov & Hutter 2019, arXiv:1711.05101), bias-corrected."""

    learning_rate: Optional[float] = None
    """Peak rate; `lr_schedule.learning_rate` wins when both are given."""
    beta1: float = 0.9
    beta2: float = 0.999
    eps: float = 1e-8
    weight_decay: float = 0.0
    """Decay of matrices and tables; norms and biases never decay."""


@dataclass(frozen=True)
class Adam(AdamW):
    """Kingma & Ba 2015, arXiv:1412.6980; weight decay is part of the gradient."""


@dataclass(frozen=True)
class Lamb(AdamW):
    """Steps as long as the tensor they move, for large batches (You et al. 2020, arXiv:1904.00962)."""

    eps: float = 1e-6


@dataclass(frozen=True)
class SGD:
    """Gradient descent; weight decay is part of the gradient."""

    learning_rate: Optional[float] = None
    momentum: float = 0.0
    nesterov: bool = False
    weight_decay: float = 0.0


@dataclass(frozen=True)
class Adagrad:
    """Duchi et al. 2011; weight decay is part of the gradient."""

    learning_rate: Optional[float] = None
    eps: float = 1e-10
    weight_decay: float = 0.0


@dataclass(frozen=True)
class Adafactor:
    """Little state (Shazeer & Stern 2018, arXiv:1804.04235); the rate is the schedule's, weight decay decoupled."""

    learning_rate: Optional[float] = None
    eps: float = 1e-30
    clip_threshold: float = 1.0
    """Largest root mean square of a step before the rate."""
    decay_rate: float = 0.8
    """How fast the memory of squared gradients grows: step t keeps 1 - t^-decay_rate of it."""
    weight_decay: float = 0.0


OPTIMIZERS = (AdamW, SGD, Adagrad, Adafactor)
"""Options of our own optimizers, which take groups of parameters."""


# ---- learning-rate schedules


@dataclass(frozen=True)
class LinearSchedule:
    """Warm-up, then straight down to `lr_end` at the last step."""

    learning_rate: Optional[float] = None
    """Peak rate; the optimizer's own when absent."""
    lr_end: float = 0.0
    warmup_lr_init: float = 0.0
    """Rate of the first warm-up step."""
    warmup_steps: int = 0
    warmup_ratio: Optional[float] = None
    """Share of all steps spent warming up; beats `warmup_steps`."""
    warmup_epochs: Optional[int] = None
    """Epochs spent warming up; beats `warmup_steps`."""
    total_steps: int = -1
    """Optimizer steps of the whole curve; -1: epochs times steps per epoch."""


@dataclass(frozen=True)
class CosineSchedule(LinearSchedule):
    """Warm-up, then `num_cycles` of a cosine (0.5: once down to `lr_end`)."""

    num_cycles: float = 0.5


@dataclass(frozen=True)
class CosineRestartsSchedule(LinearSchedule):
    """Warm-up, then `num_cycles` falling half cosines with hard restarts."""

    num_cycles: float = 1.0


@dataclass(frozen=True)
class PolynomialSchedule(LinearSchedule):
    """Warm-up, then a polynomial of degree `power` down to `lr_end`."""

    power: float = 1.0


# ---- train step


@dataclass(frozen=True)
class OneStep:
    """A step with a fixed loss scale `sens` and, when asked, clipping of the global gradient norm."""

    sens: float = 1.0
    use_clip_grad: bool = False
    max_grad_norm: float = 1.0


@dataclass(frozen=True)
class LossScale:
    """Loss scale of half precision: doubled after `scale_window` good steps, halved on overflow."""

    type: Literal["DynamicLossScaleUpdateCell", "FixedLossScaleUpdateCell"] = "DynamicLossScaleUpdateCell"
    loss_scale_value: float = 65536.0
    scale_factor: int = 2
    scale_window: int = 1000


@dataclass(frozen=True)
class ScaledStep:
    """A step with a loss scale that skips overflowing updates."""

    scale_sense: LossScale = field(default_factory=LossScale)
    use_clip_grad: bool = True
    max_grad_norm: float = 1.0
    micro_batch_num: Optional[int] = None


# ---- callbacks


@dataclass(frozen=True)
class LossMonitor:
    """The training line."""

    per_print_times: int = 1
    """Optimizer steps between two lines."""


@dataclass(frozen=True)
class SummaryMonitor:
    """TensorBoard events beside the json lines that every run writes."""

    UNUSED: ClassVar[Dict[str, str]] = {
        "keep_default_action": "scalars are always written",
        "summary_dir": "events lie in the run folder",
        "collect_freq": "every step is written",
    }


@dataclass(frozen=True)
class CheckpointMonitor:
    """Training checkpoints."""

    UNUSED: ClassVar[Dict[str, str]] = {
        "integrated_save": "checkpoints hold whole tensors",
        "keep_checkpoint_per_n_minutes": "the newest keep_checkpoint_max stay",
    }

    prefix: str = "mindformers"
    directory: Optional[str] = None
    """Folder of checkpoints; the run's own when absent. `--resume` looks only there; name others by load_checkpoint."""
    save_checkpoint_steps: int = 1000
    """Optimizer steps between two checkpoints; one more is written at the end of training."""
    save_checkpoint_seconds: int = 0
    """Also saves when so many seconds have passed since the last checkpoint; 0 for never. For one process only."""
    keep_checkpoint_max: int = 5
    """Newest checkpoints of the run that stay on disk."""
    keep_checkpoint_best: int = 0
    """Checkpoints with the best score that stay besides; a step that is among them is saved though none is due."""
    async_save: bool = False
    """Copy the state in memory and write it beside training."""
    upload: Optional[str] = None
    """Function registered as TOOLS that is called with the folder of every complete checkpoint."""


@dataclass(frozen=True)
class EarlyStopping:
    """The end of training when evaluation no longer improves."""

    patience: int = 3
    """Evaluations in a row without a better score."""
    min_delta: float = 0.0
    """How much better counts as better."""


@dataclass(frozen=True)
class ObsMonitor:
    """Upload to a cloud object store; without a store it does nothing."""

    OLD_NAMES: ClassVar[Dict[str, str]] = {"upload_frequence": "upload_frequency"}

    upload_frequency: int = 1
    keep_last: bool = False


# ---- metrics


@dataclass(frozen=True)
class SQuADMetric:
    """Official exact match and F1."""

    UNUSED: ClassVar[Dict[str, str]] = {
        "dataset_dir": "the evaluation dataset is scored",
        "temp_file_dir": "nothing is written between",
        "do_lower_case": ONE_TRUTH,
    }

    n_best_size: int = 20
    """Spans kept for each question."""
    max_answer_len: int = 30
    """Tokens of the longest answer."""
    whole_words: bool = False
    """Whether an answer may only consist of whole words; the published procedure takes any tokens."""
    null_score_diff_threshold: Optional[float] = None
    """SQuAD v2.0: "no answer" is given when its score is above the best span's by more than this; 0 when absent."""


@dataclass(frozen=True)
class Accuracy:
    """Share of right labels."""

    eval_type: Literal["classification", "multilabel"] = "classification"


@dataclass(frozen=True)
class TextClassificationMetric:
    """Scores of labels or numbers."""

    scores: Optional[List[str]] = None
    """accuracy, f1, matthews_correlation of classes, pearson, spearmanr of numbers; absent: those of the GLUE task."""


@dataclass(frozen=True)
class EntityScore:
    """Precision, recall and F1 of whole entities."""

    mode: Literal["default", "strict"] = "default"
    """`strict`: only entities that are complete by their scheme count as predicted; `default` reads as conlleval."""


@dataclass(frozen=True)
class NoOptions:
    """A component without options."""


# ---- data loaders


@dataclass(frozen=True)
class Loader:
    """Options that every loader takes."""

    UNUSED: ClassVar[Dict[str, str]] = {
        "column_names": "the task knows its columns by name",
        "shard_equal_rows": "every rank gets equal rows",
    }

    dataset_dir: str = ""
    """Folder or file with the rows."""
    stage: Optional[str] = None
    """Part of the data: train, dev, test."""
    shuffle: Optional[bool] = None
    """Whether rows are reordered each epoch; training does, evaluation does not."""
    num_samples: Optional[int] = None
    """Rows used; all when absent."""


@dataclass(frozen=True)
class SQuADLoader(Loader):
    """SQuAD files."""

    max_question_len: int = 64
    """Tokens of a question; the rest is cut."""
    max_seq_len: Optional[int] = None
    """Tokens of a window with question; the model's `seq_length` when absent."""
    doc_stride: int = 128
    """Tokens between the starts of two windows over a long context."""
    version_2_with_negative: bool = False
    """Whether the files are SQuAD v2.0, in which a question may have no answer."""
    cache_dir: Optional[str] = None
    """Folder for prepared features; the user's cache folder when absent."""


@dataclass(frozen=True)
class TextClassificationLoader(Loader):
    """Texts or pairs of texts with a label each."""

    task_name: Optional[str] = None
    """GLUE task (cola, sst2, mrpc, qqp, stsb, mnli, qnli, rte, wnli) whose columns and labels the files have."""
    text_column: Optional[str] = None
    """Column of the text; absent: the first one or two columns of text."""
    text_pair_column: Optional[str] = None
    """Column of the second text of a pair."""
    label_column: Optional[str] = None
    """Column of the label; `label` when absent."""
    labels: Optional[List[str]] = None
    """Names of the labels in the order of the model's outputs; absent: the task's, or those of the training set."""
    max_seq_len: Optional[int] = None
    """Tokens of a row, special ones included; the model's `seq_length` when absent."""
    cache_dir: Optional[str] = None
    """Folder for prepared features; the user's cache folder when absent."""


@dataclass(frozen=True)
class EntityLoader(Loader):
    """Texts with named entities in CLUENER's format."""

    labels: Optional[List[str]] = None
    """Tags in the order of the model's outputs (O, B-person ...); absent: the format's, or the training set's."""
    max_seq_len: Optional[int] = None
    """Tokens of a row, special ones included; the model's `seq_length` when absent."""
    label_pieces: Literal["first", "all"] = "all"
    """Which pieces of a word carry a label: the first, or all; a Chinese character is a word."""
    cache_dir: Optional[str] = None
    """Folder for prepared features; the user's cache folder when absent."""


@dataclass(frozen=True)
class ColumnLoader(EntityLoader):
    """Sentences with a token a line and its tag in another column, as in CoNLL-2003."""

    label_pieces: Literal["first", "all"] = "first"
    """Which pieces of a word carry a label."""
    token_column: int = 0
    """Counted from 0."""
    tag_column: int = -1
    """-1 is the last column."""
    scheme: Optional[Literal["IOB1", "IOB2", "BIOES", "BIOS"]] = None
    """How the tags are written; found in the file when absent."""
    separator: str = " "
    """What stands between two tokens in the text; "" for Chinese, one character a line."""


@dataclass(frozen=True)
class FilesLoader(Loader):
    """Files of a format that MindSpore reads itself (TFRecord, MindRecord)."""

    dataset_files: Optional[List[str]] = None
    """Names of the files below `dataset_dir`; all of the folder when absent."""
    columns_list: Optional[List[str]] = None
    """Columns that are read; all when absent."""


@dataclass(frozen=True)
class BlockLoader(Loader):
    """Tokens of documents, one after the other, cut into blocks; `dataset_dir` of an indexed dataset is its prefix."""

    seq_length: Optional[int] = None
    """Predictions of a block; the model's `seq_length` when absent."""
    part: List[float] = field(default_factory=lambda: [0.0, 1.0])
    """Share of the tokens that is used, from and to."""
    random_blocks: Optional[int] = None
    """So many blocks, at places drawn once from the run's seed, instead of one block after the other."""
    remainder: Optional[Literal["drop", "pad"]] = None
    """What becomes of the tokens behind the last whole block; absent: drop in training, pad in evaluation."""
    reset_at_documents: bool = False
    """Whether a document sees nothing of those before it in its block, and its positions start at 0."""


@dataclass(frozen=True)
class TextLoader(BlockLoader):
    """A text file, or all text files below a folder; files with rows (.jsonl, .parquet ...) have a column of text."""

    documents: Literal["file", "line", "blank_line"] = "file"
    """What a document is in plain text: a file, a line, or what blank lines part."""
    text_key: str = "text"
    """Column of the text in files with rows."""
    cache_dir: Optional[str] = None
    """Folder for tokens; the user's cache folder when absent."""


# ---- tokenizers
