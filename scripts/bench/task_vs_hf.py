"""Fine-tune the same encoder for a task here and with Hugging Face's Trainer; print scores and step time side by side.

    python scripts/bench/task_vs_hf.py --task text_classification --dataset mrpc --weights MINILM_DIR --data DATA_DIR
    ... --rows 2000 --seeds 42 43 44 --dropout 0
    ... --seeds 42 43 44 --results DIR          # keeps what is done; called again, it goes on

Both sides start from one folder (encoder and freshly drawn head), see the same rows in the same order, and use the same
optimizer, schedule, clipping and epochs; dropout masks differ (--dropout 0 leaves nothing to chance). Each side runs in
a process of its own, one after the other for every seed; --sides runs one of them, for long comparisons. A further
task is an entry of `task_settings.SETTINGS`, and of HF_CLASSES where its head is new.

Needs: pip install 'mindformers[oracle]'.
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
from pathlib import Path
from typing import Any, Optional, Sequence

from task_settings import SETTINGS, Setting

SIDES = ("mindformers", "hugging_face")
HF_CLASSES = {
    "ForQuestionAnswering": "AutoModelForQuestionAnswering",
    "ForSequenceClassification": "AutoModelForSequenceClassification",
    "ForMaskedLM": "AutoModelForMaskedLM",
    "ForPreTraining": "AutoModelForPreTraining",
    "ForSeq2SeqLM": "AutoModelForSeq2SeqLM",
    "ForTokenClassification": "AutoModelForTokenClassification",
}
"""Ending of our model class -> the class of transformers."""
COUNTS = ("scored", "total")
DROPOUTS = ("hidden_dropout_prob", "attention_probs_dropout_prob", "dropout_rate")
"""Keys of config.json that --dropout replaces."""


def main(words: Optional[Sequence[str]] = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", required=True, choices=SETTINGS)
    parser.add_argument("--dataset", required=True, help="of the task; see task_settings.py")
    parser.add_argument("--weights", required=True, help="folder with config.json, tokenizer, weights if any")
    parser.add_argument("--data", required=True, help="folder of real data that holds glue/ and others")
    parser.add_argument("--rows", type=int, help="training rows in place of all")
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--batch_size", type=int)
    parser.add_argument("--seq_length", type=int)
    parser.add_argument("--learning_rate", type=float)
    parser.add_argument("--dropout", type=float, help="in place of the weights' own; 0 lets both curves coincide")
    parser.add_argument("--compute_dtype", choices=("float32", "bfloat16"), help="of our side; the other is float32")
    parser.add_argument("--seeds", type=int, nargs="+", default=[42])
    parser.add_argument("--results", type=Path, help="folder that keeps results; those in it are not run again")
    parser.add_argument("--sides", nargs="+", choices=SIDES, default=list(SIDES), help="run these only")
    parser.add_argument("--part", choices=("start", *SIDES), help=argparse.SUPPRESS)
    parser.add_argument("--work", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args(words)
    if arguments.dataset not in SETTINGS[arguments.task]:
        parser.error(f"--dataset of {arguments.task}: choose from {', '.join(SETTINGS[arguments.task])}")
    given = ("rows", "epochs", "batch_size", "seq_length", "learning_rate", "dropout", "compute_dtype")
    changes = {name: getattr(arguments, name) for name in given if getattr(arguments, name) is not None}
    if arguments.part:
        setting = dataclasses.replace(SETTINGS[arguments.task][arguments.dataset], **changes)
        if arguments.part == "start":
            make_start(setting, Path(arguments.weights), arguments.seeds[0], arguments.work)
            return
        train = {"mindformers": train_here, "hugging_face": train_there}[arguments.part]
        result = train(setting, Path(arguments.data), arguments.seeds[0], arguments.work)
        result_file(arguments.work, arguments.part).write_text(json.dumps(result))
        return
    common = [sys.executable, __file__]
    for name in ("task", "dataset", "weights", "data"):
        common += [f"--{name}", getattr(arguments, name)]
    common += [f"--{name}={value}" for name, value in changes.items()]
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.results or Path(temporary)
        check_same(folder, common[2:])
        for seed in arguments.seeds:
            run_seed(common, seed, folder / f"seed_{seed}", arguments.sides)
        results = {side: read_results(folder, arguments.seeds, side) for side in SIDES}
    if all(len(results[side]) == len(arguments.seeds) for side in SIDES):
        report(arguments.seeds, results)


def check_same(folder: Path, settings: list) -> None:
    """Keep the settings in a folder of results; raise SystemExit if it holds those of other ones."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "settings.json"
    if file.exists() and json.loads(file.read_text()) != settings:
        raise SystemExit(f"{file}: {file.read_text()} is not {json.dumps(settings)}; give another folder")
    file.write_text(json.dumps(settings))


def run_seed(common: list, seed: int, work: Path, sides: list) -> None:
    """Run the sides that have no result yet, each in a process of its own, and print what came out."""
    work.mkdir(parents=True, exist_ok=True)
    command = [*common, "--seeds", str(seed), "--work", str(work), "--part"]
    if not start_folder(work).exists():
        subprocess.run([*command, "start"], check=True)
    for side in sides:
        if not result_file(work, side).exists():
            subprocess.run([*command, side], check=True)
        report_one(side, seed, json.loads(result_file(work, side).read_text()))


def result_file(work: Path, side: str) -> Path:
    return work / f"{side}.json"


def read_results(folder: Path, seeds: list, side: str) -> list:
    files = [result_file(folder / f"seed_{seed}", side) for seed in seeds]
    return [json.loads(file.read_text()) for file in files if file.exists()]


def start_folder(work: Path) -> Path:
    """Return the folder that both sides start from."""
    return work / "start"


def make_start(setting: Setting, weights: Path, seed: int, work: Path) -> None:
    """Write the folder that both sides start from: the weights with a freshly drawn head, and the tokenizer."""
    import mindspore as ms

    from mindformers.catalog import REGISTRY
    from mindformers.models.auto import AutoConfig, class_name
    from mindformers.registry import MindFormerModuleType
    from mindformers.tokenizers.auto import AutoTokenizer
    from mindformers.weights.restore import NEW_HEAD, load_weights

    ms.set_seed(seed)
    hf = json.loads((weights / "config.json").read_text())
    if setting.num_labels is not None:
        hf["id2label"] = {str(number): f"LABEL_{number}" for number in range(setting.num_labels)}
    hf.update(setting.sizes or {})
    if setting.dropout is not None:
        hf.update({name: setting.dropout for name in DROPOUTS if name in hf})
    config = AutoConfig.from_hf(hf)
    cls = REGISTRY.resolve(MindFormerModuleType.MODELS, class_name(config, setting.head))
    model = cls(config, seed=seed)
    if setting.sizes is None:
        load_weights(model, weights, weight_map=model.weight_map, new_parameters=NEW_HEAD)
    partial = work / "start.partial"
    model.save_pretrained(partial)
    AutoTokenizer.from_pretrained(weights).save_pretrained(partial)
    partial.rename(start_folder(work))


def train_here(setting: Setting, data: Path, seed: int, work: Path) -> dict:
    """Train with mindformers, through `Trainer`."""
    from mindformers import Trainer

    start = start_folder(work)
    file = work / "run.yaml"  # as a file it stands alone; a dict would go on top of the task's usual run
    file.write_text(json.dumps(setting.config(data, seed, work / "output")))  # JSON is YAML
    trainer = Trainer(task=setting.task, model=str(start), args=str(file))
    began = time.perf_counter()
    trainer.train(resume_or_finetune_from_checkpoint=str(start), do_finetune=True)
    seconds = time.perf_counter() - began
    lines = [json.loads(line) for line in (work / "output" / "rank_0" / "metrics.jsonl").read_text().splitlines()]
    began = time.perf_counter()
    scores = trainer.evaluate(eval_checkpoint=True)
    return {
        "losses": [line["loss"] for line in lines],
        "step_seconds": gaps([line["time"] for line in lines]),
        "train_seconds": seconds,
        "eval_seconds": time.perf_counter() - began,
        "scores": scores,
    }


def train_there(setting: Setting, data: Path, seed: int, work: Path) -> dict:
    """Train with Hugging Face's Trainer; rows, order and scoring come from the same code as on our side."""
    import numpy as np
    import torch
    import transformers

    from mindformers import build
    from mindformers.catalog import REGISTRY
    from mindformers.config.check import check_layers
    from mindformers.config.source import from_dict
    from mindformers.data.loader import BatchPlan, gather
    from mindformers.registry import MindFormerModuleType
    from mindformers.tokenizers.auto import AutoTokenizer

    start = start_folder(work)
    sections = setting.config(data, seed, work / "output")
    if setting.num_labels is not None:
        sections["model"]["model_config"]["num_labels"] = setting.num_labels
    config = check_layers([from_dict(sections, "task_vs_hf")]).run
    task_class = REGISTRY.resolve(MindFormerModuleType.TRAINER, setting.task)
    task = task_class.from_config(config, AutoTokenizer.from_pretrained(start))
    features = task.train_features(build.data_loader(config.train_dataset, "train_dataset", "train"))
    evaluation = task.eval_features(build.data_loader(config.eval_dataset, "eval_dataset", "dev"))
    torch.manual_seed(seed)
    plan = BatchPlan(len(features), setting.batch_size, shuffle=True, seed=seed)

    def tensor(array: Any) -> Any:
        return torch.tensor(array, dtype=torch.float32 if array.dtype.kind == "f" else torch.long)

    def columns_of(chosen: Any, rows: Any, epoch: int = 0) -> dict:
        columns = dict(zip(chosen.columns, gather(chosen, rows, epoch=epoch)))
        return {name: tensor(column) for name, column in as_there(columns).items()}

    class Rows(torch.utils.data.Dataset):
        def __len__(self):
            return len(features)

        def __getitem__(self, index):
            epoch, row = index
            return {name: column[0] for name, column in columns_of(features, np.array([row]), epoch).items()}

    class Order(torch.utils.data.Sampler):
        epoch = 0

        def __len__(self):
            return len(features)

        def __iter__(self):
            order = [(self.epoch, int(row)) for batch in plan.batches(self.epoch) for row in batch if row >= 0]
            self.epoch += 1
            return iter(order)

    class OurOrder(transformers.Trainer):
        def get_train_dataloader(self):
            return torch.utils.data.DataLoader(Rows(), batch_size=setting.batch_size, sampler=Order())

    class Clock(transformers.TrainerCallback):
        def __init__(self):
            self.stamps, self.losses = [], []

        def on_step_end(self, *_, **__):
            self.stamps.append(time.time())

        def on_log(self, args, state, control, logs=None, **_):
            if "loss" in (logs or {}):
                self.losses.append(logs["loss"])

    model = getattr(transformers, HF_CLASSES[setting.head]).from_pretrained(start)
    clock = Clock()
    trainer = OurOrder(
        model=model,
        args=transformers.TrainingArguments(
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
        with torch.no_grad():
            metric.update(kept.astype(np.int32), *outputs_there(model, task, columns_of(evaluation.features, kept)))
    return {
        "losses": clock.losses,
        "step_seconds": gaps(clock.stamps),
        "train_seconds": seconds,
        "eval_seconds": time.perf_counter() - began,
        "scores": metric.eval(),
    }


def as_there(columns: dict) -> dict:
    """Return the columns as Hugging Face takes them: labels of masked language modelling stand at their places."""
    import numpy as np

    if "masked_positions" not in columns:
        return columns
    places, found = columns["masked_positions"], columns["labels"]
    labels = np.full_like(columns["input_ids"], -100)
    rows, slots = np.nonzero(found != -100)
    labels[rows, places[rows, slots]] = found[rows, slots]
    return {**{name: column for name, column in columns.items() if name != "masked_positions"}, "labels": labels}


def outputs_there(model: Any, task: Any, columns: dict) -> list:
    """Return what the task's metric takes, of Hugging Face's model."""
    if hasattr(model, "generate") and task.name == "translation":
        written = model.generate(**columns, max_new_tokens=task.lengths.target, num_beams=1, do_sample=False)
        return [[task.tokenizer.decode(ids) for ids in written.tolist()]]
    labels = columns.pop("labels", None)
    output = model(**columns).to_tuple()
    return [item.numpy() for item in (output if labels is None else masked_scores(output[0], labels))]


def masked_scores(logits: Any, labels: Any) -> tuple:
    """Return losses, masked tokens and found ones of each row, as `MaskedScores` does."""
    import torch

    losses = torch.nn.functional.cross_entropy(logits.transpose(1, 2), labels, reduction="none", ignore_index=-100)
    return losses.sum(1), (labels != -100).sum(1), (logits.argmax(-1) == labels).sum(1)


def gaps(stamps: list) -> list:
    """Return the seconds between consecutive steps; the first step, which compiles, has none."""
    return [later - earlier for earlier, later in zip(stamps, stamps[1:])]


def report_one(side: str, seed: int, result: dict) -> None:
    scores = "  ".join(f"{name} {value:.4f}" for name, value in result["scores"].items() if name not in COUNTS)
    print(
        f"seed {seed}  {side:13s}  {scores}  scored {result['scores'].get('scored', '?')}  "
        f"step {statistics.median(result['step_seconds']):.3f} s  training {result['train_seconds']:.0f} s  "
        f"evaluation {result['eval_seconds']:.0f} s",
        flush=True,
    )


def report(seeds: list, results: dict) -> None:
    print("\nloss, mean of each tenth of the steps")
    for index, seed in enumerate(seeds):
        for side in SIDES:
            losses = results[side][index]["losses"]
            bounds = [len(losses) * part // 10 for part in range(11)]
            tenths = [statistics.mean(losses[a : max(b, a + 1)]) for a, b in zip(bounds, bounds[1:])]
            print(f"  seed {seed}  {side:13s} " + " ".join(f"{value:6.3f}" for value in tenths))
    for name in results[SIDES[0]][0]["scores"]:
        for side in SIDES if name not in COUNTS else ():
            values = [result["scores"][name] for result in results[side]]
            print(f"{name} {side:13s} mean {statistics.mean(values):.4f}  {min(values):.4f} to {max(values):.4f}")
    ratios = [
        statistics.median(there["step_seconds"]) / statistics.median(here["step_seconds"])
        for here, there in zip(*(results[side] for side in SIDES))
    ]
    print(f"speed of a training step against Hugging Face: {statistics.median(ratios):.2f} x")


if __name__ == "__main__":
    main()
