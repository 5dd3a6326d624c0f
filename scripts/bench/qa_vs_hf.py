"""Fine-tune the same encoder on the same SQUAD rows here and with Hugging Face's Trainer; print both side by side.

    python scripts/bench/qa_vs_hf.py --weights MINILM_DIR --data SQUAD_DIR      # shortened, under 15 minutes
    python scripts/bench/qa_vs_hf.py --weights MINILM_DIR --data SQUAD_DIR --setting full --seeds 42 43 44

Both sides start from one folder (encoder and freshly drawn head), see the same windows in the same order, and use the
same optimizer, schedule, clipping and epochs; dropout masks differ (--dropout 0 leaves nothing to chance). Each side
runs in a process of its own, one after the other for every seed. Needs: pip install 'mindformers[oracle]'.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

SIDES = ("mindformers", "hugging_face")


@dataclass(frozen=True)
class Setting:
    """What is trained."""

    questions: int | None
    """Training questions; None: all."""
    eval_questions: int | None
    seq_length: int
    batch_size: int
    epochs: int
    learning_rate: float = 1e-4
    warmup_ratio: float = 0.1
    weight_decay: float = 0.01
    max_grad_norm: float = 1.0
    dropout: float | None = None
    """In place of the weights' own."""


SETTINGS = {"short": Setting(2400, 400, 192, 8, 1, 3e-4), "full": Setting(None, None, 384, 12, 2)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", required=True, help="folder of the encoder, in Hugging Face's format")
    parser.add_argument("--data", required=True, help="folder with train-v1.1.json and dev-v1.1.json")
    parser.add_argument("--setting", choices=SETTINGS, default="short")
    parser.add_argument("--seeds", type=int, nargs="+", default=[42])
    parser.add_argument("--dropout", type=float, help="in place of the weights' own; 0 lets both curves coincide")
    parser.add_argument("--side", choices=SIDES, help=argparse.SUPPRESS)
    parser.add_argument("--work", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.side:
        seed, work = arguments.seeds[0], Path(arguments.work)
        train = {"mindformers": train_here, "hugging_face": train_there}[arguments.side]
        setting = dataclasses.replace(SETTINGS[arguments.setting], dropout=arguments.dropout)
        result = train(setting, Path(arguments.weights), Path(arguments.data), seed, work)
        (work / f"{arguments.side}.json").write_text(json.dumps(result))
        return
    results = {side: [] for side in SIDES}
    for seed in arguments.seeds:
        with tempfile.TemporaryDirectory() as work:
            for side in SIDES:
                command = [
                    sys.executable,
                    __file__,
                    "--weights",
                    arguments.weights,
                    "--data",
                    arguments.data,
                    "--setting",
                    arguments.setting,
                    "--seeds",
                    str(seed),
                    "--side",
                    side,
                    "--work",
                    work,
                ]
                if arguments.dropout is not None:
                    command += ["--dropout", str(arguments.dropout)]
                subprocess.run(command, check=True)
                results[side].append(json.loads((Path(work) / f"{side}.json").read_text()))
                report_one(side, seed, results[side][-1])
    report(arguments.seeds, results)


def prepared(setting: Setting, weights: Path, data: Path, seed: int, work: Path):
    """Return task, training features, evaluation data and the folder that both sides start from."""
    from mindformers.data.squad import SQuADDataLoader
    from mindformers.tasks.question_answering import QuestionAnsweringTask
    from mindformers.tokenizers.wordpiece import BertTokenizer

    task = QuestionAnsweringTask(BertTokenizer.from_pretrained(weights), max_seq_len=setting.seq_length)
    return (
        task,
        task.train_features(SQuADDataLoader(data, "train", setting.questions)),
        task.eval_features(SQuADDataLoader(data, "dev", setting.eval_questions)),
        work / f"start-{seed}",
    )


def train_here(setting: Setting, weights: Path, data: Path, seed: int, work: Path) -> dict:
    """Train with mindformers, through `Trainer`."""
    import mindspore as ms

    from mindformers import Trainer
    from mindformers.models.bert import BertConfig, BertForQuestionAnswering
    from mindformers.weights.restore import load_weights

    _, _, _, start = prepared(setting, weights, data, seed, work)
    ms.set_seed(seed)
    hf = json.loads((weights / "config.json").read_text())
    if setting.dropout is not None:
        hf = {**hf, "hidden_dropout_prob": setting.dropout, "attention_probs_dropout_prob": setting.dropout}
    model = BertForQuestionAnswering(BertConfig.from_hf(hf))
    load_weights(model, weights, weight_map=model.weight_map, new_parameters=("head.*",))
    model.save_pretrained(start)
    for name in ("vocab.txt", "tokenizer.json", "tokenizer_config.json"):
        (start / name).write_bytes((weights / name).read_bytes())

    loader = {"num_samples": setting.questions}
    trainer = Trainer(
        task="question_answering",
        model=str(start),
        train_dataset=str(data),
        eval_dataset=str(data),
        args={
            "seed": seed,
            "output_dir": str(work / "output"),
            "train_dataset": {
                "data_loader": {"type": "SQuADDataLoader", **loader},
                "tokenizer": {"type": "BertTokenizer"},
                "drop_remainder": False,
                "seed": seed,
            },
            "eval_dataset": {
                "data_loader": {"type": "SQuADDataLoader", "num_samples": setting.eval_questions},
                "tokenizer": {"type": "BertTokenizer"},
            },
            "model": {"model_config": {"type": "BertConfig", "seq_length": setting.seq_length}},
            "runner_config": {"epochs": setting.epochs, "batch_size": setting.batch_size},
            "runner_wrapper": {
                "type": "TrainOneStepCell",
                "use_clip_grad": True,
                "max_grad_norm": setting.max_grad_norm,
            },
            "optimizer": {"type": "adamw", "weight_decay": setting.weight_decay},
            "lr_schedule": {
                "type": "linear",
                "learning_rate": setting.learning_rate,
                "warmup_ratio": setting.warmup_ratio,
            },
            "callbacks": [{"type": "MFLossMonitor"}, {"type": "CheckpointMonitor", "save_checkpoint_steps": 100000}],
        },
    )
    began = time.perf_counter()
    trainer.train(resume_or_finetune_from_checkpoint=str(start), do_finetune=True)
    seconds = time.perf_counter() - began
    lines = [json.loads(line) for line in (work / "output" / "rank_0" / "metrics.jsonl").read_text().splitlines()]
    stamps = [line["time"] for line in lines]
    began = time.perf_counter()
    scores = trainer.evaluate(eval_checkpoint=True)
    return {
        "losses": [line["loss"] for line in lines],
        "step_seconds": gaps(stamps),
        "train_seconds": seconds,
        "eval_seconds": time.perf_counter() - began,
        "f1": scores["f1"],
        "exact_match": scores["exact_match"],
    }


def train_there(setting: Setting, weights: Path, data: Path, seed: int, work: Path) -> dict:
    """Train with Hugging Face's Trainer; rows, order and scoring come from the same code as on our side."""
    import numpy as np
    import torch
    from transformers import AutoModelForQuestionAnswering, Trainer, TrainerCallback, TrainingArguments

    from mindformers.data.loader import BatchPlan

    task, features, evaluation, start = prepared(setting, weights, data, seed, work)
    torch.manual_seed(seed)
    plan = BatchPlan(len(features), setting.batch_size, shuffle=True, seed=seed)

    class Rows(torch.utils.data.Dataset):
        def __len__(self):
            return len(features)

        def __getitem__(self, index):
            return {name: torch.tensor(column[index], dtype=torch.long) for name, column in features.columns.items()}

    class Order(torch.utils.data.Sampler):
        epoch = 0

        def __len__(self):
            return len(features)

        def __iter__(self):
            order = [int(row) for batch in plan.batches(self.epoch) for row in batch if row >= 0]
            self.epoch += 1
            return iter(order)

    class OurOrder(Trainer):
        def get_train_dataloader(self):
            return torch.utils.data.DataLoader(Rows(), batch_size=setting.batch_size, sampler=Order())

    class Clock(TrainerCallback):
        stamps: list = []
        losses: list = []

        def on_step_end(self, *_, **__):
            self.stamps.append(time.time())

        def on_log(self, args, state, control, logs=None, **_):
            if "loss" in (logs or {}):
                self.losses.append(logs["loss"])

    model = AutoModelForQuestionAnswering.from_pretrained(start)
    clock = Clock()
    trainer = OurOrder(
        model=model,
        args=TrainingArguments(
            output_dir=str(work / "hf"),
            per_device_train_batch_size=setting.batch_size,
            num_train_epochs=setting.epochs,
            learning_rate=setting.learning_rate,
            warmup_steps=setting.warmup_ratio,
            weight_decay=setting.weight_decay,
            max_grad_norm=setting.max_grad_norm,
            lr_scheduler_type="linear",
            optim="adamw_torch",
            logging_steps=1,
            save_strategy="no",
            report_to=[],
            seed=seed,
            use_cpu=True,
            disable_tqdm=True,
        ),
        callbacks=[clock],
    )
    began = time.perf_counter()
    trainer.train()
    seconds = time.perf_counter() - began
    metric = task.metric(evaluation)
    model.eval()
    began = time.perf_counter()
    for rows in BatchPlan(len(evaluation.features), setting.batch_size, shuffle=False, seed=0).batches(0):
        kept = rows[rows >= 0]
        batch = {
            name: torch.tensor(column[kept], dtype=torch.long) for name, column in evaluation.features.columns.items()
        }
        with torch.no_grad():
            output = model(**batch)
        metric.update(kept.astype(np.int32), output.start_logits.numpy(), output.end_logits.numpy())
    scores = metric.result()
    return {
        "losses": clock.losses,
        "step_seconds": gaps(clock.stamps),
        "train_seconds": seconds,
        "eval_seconds": time.perf_counter() - began,
        "f1": scores["f1"],
        "exact_match": scores["exact_match"],
    }


def gaps(stamps: list) -> list:
    """Return the seconds between consecutive steps; the first step, which compiles, has none."""
    return [later - earlier for earlier, later in zip(stamps, stamps[1:])]


def report_one(side: str, seed: int, result: dict) -> None:
    step = statistics.median(result["step_seconds"])
    print(
        f"seed {seed}  {side:13s}  EM {result['exact_match']:6.2f}  F1 {result['f1']:6.2f}  step {step:.3f} s  "
        f"training {result['train_seconds']:.0f} s  evaluation {result['eval_seconds']:.0f} s",
        flush=True,
    )


def report(seeds: list, results: dict) -> None:
    ours, theirs = (results[side] for side in SIDES)
    print("\nloss, mean of each tenth of the steps")
    for seed, here, there in zip(seeds, ours, theirs):
        for side, result in zip(SIDES, (here, there)):
            losses = result["losses"]
            tenths = [
                statistics.mean(
                    losses[len(losses) * i // 10 : max(len(losses) * (i + 1) // 10, len(losses) * i // 10 + 1)]
                )
                for i in range(10)
            ]
            print(f"  seed {seed}  {side:13s} " + " ".join(f"{value:6.3f}" for value in tenths))
    for key, name in (("f1", "F1"), ("exact_match", "EM")):
        for side in SIDES:
            values = [result[key] for result in results[side]]
            print(f"{name} {side:13s} mean {statistics.mean(values):.2f}  from {min(values):.2f} to {max(values):.2f}")
    ratios = [
        statistics.median(there["step_seconds"]) / statistics.median(here["step_seconds"])
        for here, there in zip(ours, theirs)
    ]
    print(f"speed of a training step against Hugging Face: {statistics.median(ratios):.2f} x")


if __name__ == "__main__":
    main()
