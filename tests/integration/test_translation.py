"""Translation through the command line: a tiny T5 trains, is scored by what it writes, is tuned and translates."""

import json

import pytest

from tests.conftest import CONFIGS
from tests.integration.conftest import run_script
from tests.unit.tokenizer_vocabularies import TEXTS, write_t5_model


@pytest.fixture(scope="module")
def flags(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pairs")
    write_t5_model(folder / "spiece.model")
    for split, texts in (("train", TEXTS), ("val", TEXTS[:6])):
        for language in ("en", "de"):
            (folder / f"{split}.{language}").write_text("".join(f"{text}\n" for text in texts))
    return [
        *("--config", CONFIGS / "t5" / "run_t5_tiny_multi30k.yaml", "--dataset_dir", folder, "--batch_size", "8"),
        *("--model.model_config.vocab_size=200", "--model.model_config.d_model=16", "--model.model_config.d_ff=32"),
        *("--model.model_config.num_layers=1", "--train_dataset.tokenizer.tgt_max_length=16"),
    ]


def test_a_tiny_t5_runs_in_all_modes(flags, tmp_path):
    common = [*flags, "--output_dir", tmp_path]
    run_script(*common, "--run_mode", "train", "--epochs", "1")
    checkpoint = next((tmp_path / "rank_0" / "checkpoint").resolve().iterdir())
    tuned = run_script(*common, "--run_mode", "finetune", "--load_checkpoint", checkpoint, "--epochs", "1", "--do_eval")
    assert "sacreBLEU signature: nrefs:1" in tuned.stderr and "scored 6 of 6" in tuned.stderr
    evaluated = run_script(*common, "--run_mode", "eval")
    scores = [
        line.split("Translation Metric =")[1] for line in tuned.stderr.splitlines() if "Translation Metric =" in line
    ]
    assert scores[-1] in evaluated.stderr
    run_script(
        *common,
        "--run_mode",
        "predict",
        "--predict_data",
        "the lazy dog",
        "--metric.num_beams=2",
        "--load_checkpoint",
        checkpoint,
    )
    results = sorted((tmp_path / "runs").glob("*-predict"))[-1] / "results.txt"
    (text,) = json.loads(results.read_text())["translation_text"]
    assert isinstance(text, str)
