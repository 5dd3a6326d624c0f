"""Question answering with the other encoders, and where some questions have no answer, in every mode."""

import json

import pytest

from tests.conftest import CONFIGS
from tests.integration.conftest import TINY, run_script

FAMILIES = ("albert", "roberta")
ASKED = "Anna lives in Rome - Where does Anna live?"


@pytest.fixture(scope="module")
def vocabulary(corpus):
    file = corpus / "vocab.txt"
    return [
        f"--train_dataset.tokenizer.vocab_file={file}",
        f"--eval_dataset.tokenizer.vocab_file={file}",
        f"--model.model_config.vocab_size={len(file.read_text().splitlines())}",
    ]


@pytest.mark.parametrize("family", FAMILIES)
def test_a_tiny_twin_runs_in_all_modes(family, corpus, vocabulary, tmp_path):
    config = CONFIGS / "qa" / f"run_qa_{family}_tiny.yaml"
    common = ["--config", config, "--dataset_dir", corpus, "--output_dir", tmp_path, *vocabulary, *TINY]
    run_script(*common, "--run_mode", "train", "--epochs", "1", "--num_samples", "64")
    checkpoint = next((tmp_path / "rank_0" / "checkpoint").resolve().iterdir())
    tuned = run_script(
        *common,
        *("--run_mode", "finetune", "--load_checkpoint", checkpoint, "--epochs", "1", "--do_eval"),
        *("--train_dataset.data_loader.num_samples=64",),
    )
    assert "scored 40 of 40" in tuned.stderr
    evaluated = run_script(*common, "--run_mode", "eval")
    predictions, lists = (written(tmp_path, name) for name in ("predictions", "nbest_predictions"))
    assert len(predictions) == len(lists) == 40
    assert all(best[0]["text"] == predictions[name] for name, best in lists.items())
    last = [line for line in tuned.stderr.splitlines() if "QA Metric =" in line][-1]
    assert last.split("QA Metric =")[1] in evaluated.stderr
    run_script(*common, "--run_mode", "predict", "--predict_data", ASKED)
    answer = json.loads((sorted((tmp_path / "runs").glob("*-predict"))[-1] / "results.txt").read_text())
    assert ASKED[answer["start"] : answer["end"]] == answer["text"]


def written(output, name):
    """Return what the newest evaluation wrote beside its scores."""
    return json.loads((sorted((output / "runs").glob("*-eval"))[-1] / f"eval_{name}.json").read_text())


def with_questions_of_others(content):
    """Ask every other question about the following context, where it has no answer."""
    paragraphs = [paragraph for article in content["data"] for paragraph in article["paragraphs"]]
    for paragraph, following in zip(paragraphs[::2], paragraphs[1::2]):
        for row in paragraph["qas"]:
            moved = {**row, "id": f"{row['id']}-elsewhere", "answers": [], "is_impossible": True}
            following["qas"].append(moved)
    return {**content, "version": "v2.0"}


def test_questions_without_an_answer_train_evaluate_and_predict(corpus, vocabulary, tmp_path):
    folder = tmp_path / "v2"
    folder.mkdir()
    counts = {}
    for split in ("train", "dev"):
        content = with_questions_of_others(json.loads((corpus / f"{split}-v1.1.json").read_text()))
        (folder / f"{split}-v2.0.json").write_text(json.dumps(content))
        counts[split] = sum(len(part["qas"]) for article in content["data"] for part in article["paragraphs"])
    version = [f"--{part}_dataset.data_loader.version_2_with_negative=true" for part in ("train", "eval")]
    config = CONFIGS / "qa" / "run_qa_bert_tiny.yaml"
    common = ["--config", config, "--dataset_dir", folder, "--output_dir", tmp_path, *vocabulary, *TINY, *version]
    trained = run_script(*common, "--run_mode", "train", "--epochs", "1", "--do_eval")
    assert f"scored {counts['dev']} of {counts['dev']}" in trained.stderr
    assert "'NoAns_f1':" in trained.stderr and "'best_f1_thresh':" in trained.stderr
    run_script(*common, "--run_mode", "eval")
    odds, predictions = written(tmp_path, "null_odds"), written(tmp_path, "predictions")
    assert len(odds) == counts["dev"]
    assert all((predictions[name] == "") == (odd is None or odd > 0) for name, odd in odds.items())
    never = run_script(
        *common, "--run_mode", "predict", "--predict_data", ASKED, "--metric.null_score_diff_threshold=-99"
    )
    assert "'text': ''" in never.stderr
    always = run_script(
        *common, "--run_mode", "predict", "--predict_data", ASKED, "--metric.null_score_diff_threshold=99"
    )
    assert "'text': ''" not in always.stderr


def test_a_threshold_that_has_no_effect_is_refused(tiny_flags, tmp_path):
    flags = [*tiny_flags, "--output_dir", tmp_path, "--metric.null_score_diff_threshold=1"]
    result = run_script(*flags, "--run_mode", "train", check=False)
    assert result.returncode == 2
    assert "metric.null_score_diff_threshold" in result.stderr and "version_2_with_negative" in result.stderr
