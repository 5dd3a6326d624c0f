"""Text classification through `run_mindformer.py` and `Trainer`: every mode on a table that the test writes."""

import json
import random

import pytest

from tests.conftest import CONFIGS, ROOT
from tests.integration.conftest import run_script

NOUNS = ("film", "story", "meal", "room", "trip", "book")
WORDS = {"negative": ("awful", "dull", "bad", "poor"), "positive": ("lovely", "bright", "good", "fine")}
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
FILLING = ("the", "was", "and", "a", "it")
DEV_ROWS = 21


def sentence(label, choice):
    first, second = choice.sample(WORDS[label], 2)
    return f"the {choice.choice(NOUNS)} was {first} and {second}"


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """A folder with train.tsv, dev.tsv and vocab.txt: sentences of two kinds that are told apart by their words."""
    folder, choice = tmp_path_factory.mktemp("table"), random.Random(3)
    for split, count in (("train", 130), ("dev", DEV_ROWS)):
        labels = [choice.choice(list(WORDS)) for _ in range(count)]
        lines = ["text\tlabel", *(f"{sentence(label, choice)}\t{label}" for label in labels)]
        (folder / f"{split}.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    words = [*SPECIAL, *NOUNS, *FILLING, *(word for group in WORDS.values() for word in group)]
    (folder / "vocab.txt").write_text("".join(f"{word}\n" for word in words), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def flags(table):
    return [
        "--config",
        CONFIGS / "txtcls" / "run_txtcls_bert_tiny.yaml",
        "--dataset_dir",
        table,
        f"--train_dataset.data_loader.cache_dir={table / 'cache'}",
        "--mode",
        "1",
    ]


@pytest.fixture(scope="module")
def output(tmp_path_factory, flags):
    """The output folder of a finished training run."""
    folder = tmp_path_factory.mktemp("output")
    run_script(*flags, "--run_mode", "train", "--output_dir", folder, "--do_eval")
    return folder


def newest(output, mode):
    return sorted((output / "runs").glob(f"*-{mode}"))[-1]


def test_training_learns_the_table_and_keeps_the_names_of_its_labels(output):
    checkpoints = list((output / "rank_0" / "checkpoint").iterdir())
    labels = [json.loads((item / "labels.json").read_text()) for item in checkpoints if item.is_dir()]
    assert labels and all(item == {"id2label": {"0": "negative", "1": "positive"}} for item in labels)
    log = (output / "log" / "rank_0" / "mindformers.log").read_text()
    assert f"scored {DEV_ROWS} of {DEV_ROWS}" in log


def test_evaluation_scores_every_row_with_the_labels_of_the_checkpoint(output, flags):
    run_script(*flags, "--run_mode", "eval", "--output_dir", output)
    scores = json.loads((newest(output, "eval") / "eval_results.json").read_text())
    assert scores == {"accuracy": 1.0, "scored": DEV_ROWS, "total": DEV_ROWS}


def test_prediction_names_labels_with_probabilities(output, flags, tmp_path):
    questions = tmp_path / "questions.txt"
    questions.write_text("the meal was lovely - and good\nthe room was dull and bad\n", encoding="utf-8")
    run_script(*flags, "--run_mode", "predict", "--output_dir", output, "--predict_data", questions, "--top_k", "2")
    results = [json.loads(line) for line in (newest(output, "predict") / "results.txt").read_text().splitlines()]
    assert [[item["label"] for item in items] for items in results] == [
        ["positive", "negative"],
        ["negative", "positive"],
    ]
    assert all(sum(item["score"] for item in items) == pytest.approx(1, abs=2e-4) for items in results)


def test_finetuning_starts_from_the_weights_and_keeps_the_order_of_their_labels(output, flags, table, tmp_path):
    # The same rows under names that sort the other way round once the weights' own names are gone.
    checkpoint = next(item for item in (output / "rank_0" / "checkpoint").iterdir() if item.is_dir())
    run_script(
        *flags,
        "--run_mode",
        "finetune",
        "--output_dir",
        tmp_path,
        "--load_checkpoint",
        checkpoint,
        "--epochs",
        "1",
        "--do_eval",
    )
    lines = (tmp_path / "rank_0" / "metrics.jsonl").read_text().splitlines()
    first = next(json.loads(line)["loss"] for line in lines if "loss" in json.loads(line))
    assert first < 0.3  # a fresh head would start near ln 2


def test_labels_that_the_weights_do_not_know_stop_an_evaluation(output, flags, table, tmp_path):
    other = tmp_path / "dev.tsv"
    other.write_text("text\tlabel\nthe film was good\tpositive\nthe film was odd\tstrange\n", encoding="utf-8")
    result = run_script(
        *flags,
        "--run_mode",
        "eval",
        "--output_dir",
        output,
        "--eval_dataset_dir",
        other,
        "--dataset_dir",
        other,
        check=False,
    )
    assert result.returncode == 2
    assert f"{other}:3: the label 'strange' is not one of negative, positive" in result.stderr


def test_a_model_with_another_number_of_labels_is_refused_with_both_numbers(flags, tmp_path):
    result = run_script(*flags, "--output_dir", tmp_path, "--model.model_config.num_labels=5", check=False)
    assert result.returncode == 2
    assert "the labels are negative, positive (2), but model.model_config.num_labels is 5" in result.stderr


def test_trainer_runs_a_task_on_rows_of_the_callers_own(table, tmp_path):
    code = f"""
from mindformers import Trainer
choice = __import__("random").Random(5)
rows = [{{"text": f"the film was {{word}}", "text_pair": f"it was {{word}}", "label": label}}
        for label, word in ((7.0, "good"), (3.0, "bad")) for _ in range(24)]
trainer = Trainer(
    task="text_classification", model="txtcls_bert_tiny", train_dataset=rows, eval_dataset=rows[:30],
    args={{"output_dir": {str(tmp_path)!r}, "context": {{"mode": 1}},
          "model": {{"model_config": {{"num_labels": 1}}}},
          "train_dataset": {{"tokenizer": {{"vocab_file": {str(table / "vocab.txt")!r}}}}},
          "eval_dataset": {{"tokenizer": {{"vocab_file": {str(table / "vocab.txt")!r}}}}},
          "runner_config": {{"epochs": 16}}, "lr_schedule": {{"learning_rate": 0.02}}}},
)
trainer.train()
scores = trainer.evaluate(eval_checkpoint=True)
assert scores["scored"] == 30 and scores["pearson"] > 0.9, scores
(first,), (second,) = trainer.predict(True, [("the film was good", "it was good"), ("the film was bad", "it was bad")])
assert first["label"] == "score" and first["score"] > second["score"], (first, second)
"""
    script = tmp_path / "rows.py"
    script.write_text(code, encoding="utf-8")
    import os
    import subprocess
    import sys

    done = subprocess.run(
        [sys.executable, str(script)],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        timeout=600,
    )
    assert done.returncode == 0, done.stderr[-3000:]
