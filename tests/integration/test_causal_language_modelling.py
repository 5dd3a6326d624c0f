"""Causal language modelling as a user runs it: train, score, fine-tune and resume, from text, tokens and records."""

import argparse
import json
import re

import numpy as np
import pytest
import yaml

from mindformers.config.check import check_file
from mindformers.config.flags import layers_for
from mindformers.data.indexed import IndexedWriter
from mindformers.data.records import write_records
from mindformers.tokenizers.characters import CharacterTokenizer
from tests.conftest import CONFIGS, ROOT
from tests.integration.conftest import losses, run_code, run_script

TINY = CONFIGS / "gpt2" / "run_gpt2_tiny.yaml"
WORDS = ("red", "green", "blue")
PREDICTABLE = "".join(f"{WORDS[index % 3]} follows {WORDS[(index + 2) % 3]}.\n" for index in range(500))
"""A text whose every letter follows from those before it, but for the first."""


@pytest.fixture(scope="session")
def text(tmp_path_factory):
    file = tmp_path_factory.mktemp("text") / "rhyme.txt"
    file.write_text(PREDICTABLE, encoding="utf-8")
    return file


@pytest.fixture(scope="session")
def flags(text):
    """Flags that let the tiny run read the text, without the user's cache."""
    both = [f"--{name}.data_loader.cache_dir={text.parent / 'cache'}" for name in ("train_dataset", "eval_dataset")]
    return [
        "--config",
        TINY,
        "--dataset_dir",
        text,
        *both,
    ]


@pytest.fixture(scope="session")
def learned(tmp_path_factory, flags):
    """The output folder of a finished run, and what it said."""
    output = tmp_path_factory.mktemp("learned")
    result = run_script(*flags, "--run_mode", "train", "--output_dir", output, "--epochs", "6")
    return output, result.stderr


def scores(said):
    """Return the last scores of a log."""
    found = re.findall(r"Text Generation Metric = \{'Text Generation Metric': (\{.*\})\}", said)
    return json.loads(found[-1].replace("'", '"'))


def test_training_ends_with_the_loss_of_the_validation_part(learned):
    output, said = learned
    found = scores(said)
    held_out = len(PREDICTABLE) - int(0.9 * len(PREDICTABLE))
    assert found["tokens"] == held_out - 1
    assert found["val_loss"] < 0.5 < losses(output)[0]
    assert found["perplexity"] == pytest.approx(np.exp(found["val_loss"]))
    assert "the last block is padded" in said and "tokens are left out" in said


def test_evaluation_of_the_checkpoint_repeats_the_scores_whatever_the_batch_size(learned, flags):
    output, said = learned
    again = run_script(*flags, "--run_mode", "eval", "--output_dir", output, "--batch_size", "5").stderr
    assert scores(again) == pytest.approx(scores(said), rel=1e-5)
    newest = sorted((output / "runs").glob("*-eval"))[-1]
    assert json.loads((newest / "eval_results.json").read_text()) == pytest.approx(scores(again))


def test_the_tokenizer_goes_with_the_checkpoint_into_finetuning(learned, flags, tmp_path):
    output, _ = learned
    checkpoint = next((output / "rank_0" / "checkpoint").resolve().iterdir())
    assert (checkpoint / "tokenizer.json").is_file()
    other = tmp_path / "other.txt"
    other.write_text("blue follows green.\n" * 40, encoding="utf-8")
    changed = list(flags)
    changed[changed.index("--dataset_dir") + 1] = other
    result = run_script(
        *changed, "--run_mode", "finetune", "--load_checkpoint", checkpoint, "--output_dir", tmp_path / "out"
    )
    assert losses(tmp_path / "out")[0] < 1.5
    assert "Traceback" not in result.stderr


def test_blocks_at_random_places_resume_bit_for_bit(flags, tmp_path):
    common = [
        *flags,
        "--run_mode",
        "train",
        "--train_dataset.data_loader.random_blocks=48",
        "--do_eval=false",
        "--callbacks.0.per_print_times=1",
        "--callbacks.2.save_checkpoint_steps=4",
    ]
    run_script(*common, "--output_dir", tmp_path / "out")
    straight = losses(tmp_path / "out")
    kept = next(
        item for item in (tmp_path / "out" / "rank_0" / "checkpoint").resolve().iterdir() if "-1_4" in item.name
    )
    run_script(*common, "--output_dir", tmp_path / "again", "--load_checkpoint", kept)
    assert len(straight) == 6
    assert losses(tmp_path / "again") == straight[4:]


def test_a_file_of_r03_trains_on_records_that_a_tokenizer_made_earlier(text, tmp_path):
    """The keys of the r0.3 file stay; sizes shrink, and the parallel sections fall away."""
    keys = yaml.safe_load((ROOT / "tests" / "unit" / "r03_files" / "gpt2.yaml").read_text(encoding="utf-8"))
    ids = CharacterTokenizer(text).encode_batch([PREDICTABLE])[0].ids
    rows = np.lib.stride_tricks.sliding_window_view(ids, 17)[::16][:32]
    write_records(tmp_path / "records" / "train.mindrecord", {"input_ids": rows})
    keys["train_dataset"]["data_loader"]["dataset_dir"] = str(tmp_path / "records")
    keys["model"]["model_config"].update(
        seq_length=16, vocab_size=32, embedding_size=16, num_layers=1, num_heads=2, max_position_embeddings=16,
        param_init_type="float32",
    )  # fmt: skip
    keys["runner_wrapper"] = {**keys["runner_wrapper"], "type": "MFTrainOneStepCell"}
    keys["context"]["device_target"] = "CPU"
    keys["parallel"]["parallel_mode"] = 0
    keys.update(use_parallel=False, parallel_config={}, recompute_config={}, init_start_profile=False)
    keys["lr_schedule"]["warmup_steps"] = 2
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(keys), encoding="utf-8")
    result = run_script("--config", tmp_path / "run.yaml", "--output_dir", tmp_path / "out", "--epochs", "1")
    assert "no tokenizer" in result.stderr
    assert len(losses(tmp_path / "out")) == 16


def test_another_family_trains_on_indexed_tokens_with_documents_kept_apart(text, tmp_path):
    tokenizer = CharacterTokenizer(text, eos_token="<e>")
    with IndexedWriter(tmp_path / "lines_text_document", dtype="uint16") as writer:
        for line in PREDICTABLE.splitlines()[:100]:
            writer.add([*tokenizer.encode_batch([line])[0].ids, tokenizer.eos_token_id])
            writer.end_document()
    config = tmp_path / "run.yaml"
    loader = {
        "type": "IndexedDataLoader",
        "dataset_dir": str(tmp_path / "lines_text_document"),
        "reset_at_documents": True,
    }
    data = {"data_loader": loader, "tokenizer": None}
    config.write_text(
        yaml.safe_dump(
            {
                "base_config": [str(TINY)],
                "model": {
                    "arch": {"type": "BloomForCausalLM"},
                    "model_config": {"type": "BloomConfig", "hidden_size": 16, "n_layer": 1, "n_head": 2},
                },
                "train_dataset": data,
                "eval_dataset": {"data_loader": {**loader, "part": [0.5, 1.0]}},
            }
        )
    )
    result = run_script("--config", config, "--run_mode", "train", "--output_dir", tmp_path / "out")
    assert "100 documents" in result.stderr
    tokens = sum(len(line) + 1 for line in PREDICTABLE.splitlines()[:100])
    half = tokens - int(0.5 * tokens)
    assert half - 60 < scores(result.stderr)["tokens"] < half - 40  # the first token of a document is no label
    assert losses(tmp_path / "out")[-1] < losses(tmp_path / "out")[0]


WRONG = {
    "a folder without text": (["--dataset_dir", ROOT / "mindformers" / "arch"], "none beside the data"),
    "a block longer than the model": (["--model.model_config.seq_length=65"], "the model, which has 64 positions"),
    "a vocabulary that is too small": (["--model.model_config.vocab_size=5"], "at least"),
    "an option that does not exist": (["--train_dataset.data_loader.document=line"], "Did you mean 'documents'"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_a_user_can_repair_is_one_message_and_exit_code_2(case, flags, tmp_path):
    wrong, said = WRONG[case]
    result = run_script(*flags, "--run_mode", "train", "--output_dir", tmp_path, *wrong, check=False)
    assert result.returncode == 2, result.stderr[-3000:]
    assert said in result.stderr
    assert "Traceback" not in result.stderr


SCRIPT = """
from mindformers import Trainer
from mindformers.tokenizers.characters import CharacterTokenizer

text = open({text!r}, encoding="utf-8").read()
trainer = Trainer(
    task="text_generation",
    model="gpt2_tiny",
    args={{"output_dir": {output!r}, "runner_config": {{"epochs": 3}}}},
    train_dataset=[text],
    eval_dataset=[{{"text": text[:500]}}],
    tokenizer=CharacterTokenizer({text!r}),
)
print("TRAINED", trainer.train())
print("SCORES", trainer.evaluate(eval_checkpoint=True))
print("PREDICTED", trainer.predict(predict_checkpoint=True, input_data="red"))
"""


def test_the_trainer_takes_texts_and_a_tokenizer_of_the_users_own(text, tmp_path):
    script = SCRIPT.format(text=str(text), output=str(tmp_path / "out"))
    result = run_code(script, tmp_path)
    trained, scored = (re.search(rf"{word} (.*)", result.stdout).group(1) for word in ("TRAINED", "SCORES"))
    assert trained == scored and "'tokens': 499" in scored
    assert "PREDICTED [{'text_generation_text': ['red" in result.stdout
    assert list((tmp_path / "out").glob("rank_0/checkpoint/*/tokenizer.json"))


def test_a_flag_for_both_datasets_makes_none_that_no_file_describes(tmp_path):
    """r0.3's file has no eval_dataset, and its guide gives a folder of records."""
    file = ROOT / "tests" / "unit" / "r03_files" / "gpt2.yaml"
    layers = layers_for(argparse.Namespace(dataset_dir=str(tmp_path), num_samples="4", run_mode="train", options=[]))
    run = check_file(file, layers).run
    assert run.eval_dataset is None
    assert (run.train_dataset.data_loader.options.dataset_dir, run.train_dataset.data_loader.options.num_samples) == (
        str(tmp_path),
        4,
    )
