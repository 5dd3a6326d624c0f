"""Masked language modelling as a user runs it: every mode of every tiny run, on text that the test writes."""

import json

import numpy as np
import pytest
import yaml

from mindformers.data.records import write_records
from tests.conftest import CONFIGS, ROOT
from tests.integration.conftest import losses, run_code, run_script
from tests.unit.tokenizer_vocabularies import write_byte_level, write_sentencepiece

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
COLOURS, ANIMALS = ("red", "green", "blue"), ("fox", "bird", "fish")
LINES = [f"the {COLOURS[index % 3]} one is a {ANIMALS[index % 3]} ." for index in range(9)]
"""The animal follows from the colour."""
SMALL = [
    *("--model.model_config.hidden_size=32", "--model.model_config.num_hidden_layers=1"),
    *("--model.model_config.num_attention_heads=2", "--model.model_config.intermediate_size=64"),
    *("--model.model_config.seq_length=32", "--runner_config.batch_size=8"),
    *("--model.model_config.hidden_dropout_prob=0.0", "--model.model_config.attention_probs_dropout_prob=0.0"),
]


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    """A folder with train.txt, valid.txt and a vocabulary of every kind."""
    folder = tmp_path_factory.mktemp("text")
    choice = np.random.default_rng(4)
    for split, count in (("train", 120), ("valid", 24)):
        documents = ["\n".join(choice.permutation(LINES)[:6]) for _ in range(count)]
        (folder / f"{split}.txt").write_text("\n\n".join(documents), encoding="utf-8")
    words = sorted({word for line in LINES for word in line.split()})
    (folder / "vocab.txt").write_text("".join(f"{word}\n" for word in (*SPECIAL, *words)), encoding="utf-8")
    write_byte_level(folder)
    write_sentencepiece(
        folder / "spiece.model",
        vocab_size=90,
        pad_id=0,
        unk_id=1,
        bos_id=-1,
        eos_id=-1,
        control_symbols=["[CLS]", "[SEP]", "[MASK]"],
    )
    return folder


def flags_of(name, text):
    both = ("train_dataset", "eval_dataset")
    return [
        "--config",
        CONFIGS / f"{name}.yaml",
        "--dataset_dir",
        text,
        *[f"--{part}.data_loader.cache_dir={text / 'cache'}" for part in both],
        *SMALL,
    ]


@pytest.fixture(scope="module")
def flags(text):
    return [*flags_of("bert/run_bert_tiny_uncased", text), "--model.model_config.vocab_size=24"]


@pytest.fixture(scope="module")
def learned(tmp_path_factory, flags):
    """The output folder of a finished run of BERT."""
    output = tmp_path_factory.mktemp("learned")
    run_script(
        *flags,
        "--output_dir",
        output,
        "--epochs",
        "16",
        "--lr_schedule.learning_rate=5e-3",
        "--callbacks.0.per_print_times=1",
    )
    return output


def newest(output, mode):
    return sorted((output / "runs").glob(f"*-{mode}"))[-1]


def checkpoint_of(output):
    return next(item for item in (output / "rank_0" / "checkpoint").iterdir() if item.is_dir())


def scores(output):
    return json.loads((newest(output, "eval") / "eval_results.json").read_text())


def test_training_finds_masked_words_and_evaluation_scores_every_row_the_same_again(learned, flags):
    seen = losses(learned)
    assert np.mean(seen[-5:]) < 0.6 * np.mean(seen[:5])
    run_script(*flags, "--run_mode", "eval", "--output_dir", learned)
    first = scores(learned)
    assert set(first) == {"val_loss", "perplexity", "tokens", "accuracy", "sentence_accuracy", "sentences"}
    assert first["accuracy"] > 0.35  # the most frequent token is one of seven
    run_script(*flags, "--run_mode", "eval", "--output_dir", learned, "--batch_size", "5", "--seed", "9")
    assert scores(learned) == pytest.approx(first, rel=1e-5)


def test_prediction_fills_every_mask_of_a_text(learned, flags, tmp_path):
    questions = tmp_path / "questions.txt"
    questions.write_text("the green one is a [MASK] .\nthe [MASK] one is [MASK] fox .\n", encoding="utf-8")
    run_script(*flags, "--run_mode", "predict", "--output_dir", learned, "--predict_data", questions, "--top_k", "3")
    one, two = [json.loads(line) for line in (newest(learned, "predict") / "results.txt").read_text().splitlines()]
    assert [set(item) for item in one] == [{"score", "token", "token_str", "sequence"}] * 3
    assert {item["token_str"] for item in one} == set(ANIMALS)
    assert two[1][0]["token_str"] == "a" and len(two) == 2
    assert two[1][0]["sequence"] == "the [MASK] one is a fox."


def test_finetuning_starts_from_the_weights_and_their_tokenizer(learned, flags, tmp_path):
    run_script(
        *flags,
        *(
            "--run_mode",
            "finetune",
            "--load_checkpoint",
            checkpoint_of(learned),
            "--output_dir",
            tmp_path,
            "--epochs",
            "1",
        ),
        *("--callbacks.0.per_print_times=1", "--do_eval=false"),
    )
    assert np.mean(losses(tmp_path)) < 0.7 * losses(learned)[0]


def test_a_run_that_stops_within_an_epoch_resumes_with_the_same_masks(flags, tmp_path):
    common = [
        *flags,
        *("--epochs", "2", "--do_eval=false", "--callbacks.0.per_print_times=1", "--mode", "1"),
        *("--callbacks.2.save_checkpoint_steps=9", "--train_dataset.data_loader.num_samples=48"),
    ]
    run_script(*common, "--output_dir", tmp_path / "out")
    straight = losses(tmp_path / "out")
    assert len(straight) == 12
    kept = next(
        item for item in (tmp_path / "out" / "rank_0" / "checkpoint").resolve().iterdir() if "-2_3" in item.name
    )
    run_script(*common, "--output_dir", tmp_path / "again", "--load_checkpoint", kept)
    assert losses(tmp_path / "again") == straight[9:]


OTHERS = {
    "roberta/run_roberta_tiny": ("<mask>", {"val_loss", "perplexity", "tokens", "accuracy"}),
    "albert/run_albert_tiny": (
        "[MASK]",
        {"val_loss", "perplexity", "tokens", "accuracy", "sentence_accuracy", "sentences"},
    ),
}


@pytest.mark.parametrize("name", OTHERS)
def test_the_other_families_train_score_fill_and_train_on(name, text, tmp_path):
    mask, scored = OTHERS[name]
    common = [*flags_of(name, text), "--model.model_config.vocab_size=400", "--mode", "1"]
    common += ["--train_dataset.data_loader.num_samples=64", "--eval_dataset.data_loader.num_samples=8"]
    run_script(*common, "--output_dir", tmp_path / "out", "--epochs", "1", "--callbacks.0.per_print_times=1")
    assert len(losses(tmp_path / "out")) == 8
    run_script(*common, "--run_mode", "eval", "--output_dir", tmp_path / "out")
    assert set(scores(tmp_path / "out")) == scored
    run_script(
        *common, "--run_mode", "predict", "--output_dir", tmp_path / "out", "--predict_data", f"the {mask} one is"
    )
    (line,) = (newest(tmp_path / "out", "predict") / "results.txt").read_text().splitlines()
    assert set(json.loads(line)[0]) == {"score", "token", "token_str", "sequence"}
    run_script(
        *common,
        *("--run_mode", "finetune", "--load_checkpoint", checkpoint_of(tmp_path / "out")),
        *("--output_dir", tmp_path / "more", "--epochs", "1", "--callbacks.0.per_print_times=1"),
    )
    assert losses(tmp_path / "more")[0] < losses(tmp_path / "out")[0]


def test_a_file_of_r03_trains_on_berts_pre_training_records(tmp_path):
    """The keys of the r0.3 file stay, but that MindRecord is read; sizes shrink."""
    keys = yaml.safe_load((ROOT / "tests" / "unit" / "r03_files" / "bert.yaml").read_text(encoding="utf-8"))
    random = np.random.default_rng(0)
    ids = random.integers(5, 24, (32, 16))
    places = np.sort(random.permuted(np.tile(np.arange(16), (32, 1)), axis=1)[:, :3])
    rows = {
        "input_ids": ids,
        "input_mask": np.ones_like(ids),
        "segment_ids": np.repeat([[0, 1]], 32, 0).repeat(8, 1),
        "next_sentence_labels": random.integers(0, 2, (32, 1)),
        "masked_lm_positions": places,
        "masked_lm_ids": np.take_along_axis(ids, places, 1),
        "masked_lm_weights": np.ones((32, 3), np.int32),
    }
    write_records(tmp_path / "records" / "train.mindrecord", rows)
    keys["train_dataset"]["data_loader"] = {"type": "MindDataset", "dataset_dir": str(tmp_path / "records")}
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    keys["model"]["model_config"].update(sizes, seq_length=16, vocab_size=24, checkpoint_name_or_path=None)
    keys["context"].update(device_target="CPU", mode=1)
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(keys), encoding="utf-8")
    run_script(
        "--config", tmp_path / "run.yaml", "--output_dir", tmp_path / "out", "--epochs", "2", "--batch_size", "8",
    )  # fmt: skip
    assert len(losses(tmp_path / "out")) == 8


WRONG = {
    "a text without mask": (["--run_mode", "predict", "--predict_data", "the fox"], "has no [MASK]"),
    "an option that does not exist": (["--train_dataset.data_loader.whole_word=true"], "Did you mean 'whole_words'"),
    "rows of another kind": (["--train_dataset.data_loader.rows=half"], "rows"),
    "a folder without text": (["--run_mode", "train", "--dataset_dir", CONFIGS / "bert"], "none beside the data"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_a_user_can_repair_is_one_message_and_exit_code_2(case, learned, flags):
    wrong, said = WRONG[case]
    result = run_script(*flags, "--output_dir", learned, *wrong, check=False)
    assert result.returncode == 2, result.stderr[-3000:]
    assert said in result.stderr
    assert "Traceback" not in result.stderr


SCRIPT = """
from mindformers import Trainer
from mindformers.tokenizers.wordpiece import BertTokenizer

texts = {texts!r}
trainer = Trainer(
    task="fill_mask",
    model="bert_tiny_uncased",
    args={{"output_dir": {output!r}, "context": {{"mode": 1}}, "runner_config": {{"epochs": 1, "batch_size": 8}},
          "model": {{"model_config": {{"vocab_size": 24, "hidden_size": 16, "num_hidden_layers": 1,
                    "intermediate_size": 32, "seq_length": 24}}}}}},
    train_dataset=texts,
    eval_dataset=[{{"text": text}} for text in texts[:8]],
    tokenizer=BertTokenizer({vocabulary!r}),
)
trainer.train()
scores = trainer.evaluate(eval_checkpoint=True)
assert scores["tokens"] > 8 and scores["sentences"] > 8, scores
(best, second), = trainer.predict(True, "the red one is a [MASK] .", top_k=2)
assert best["score"] >= second["score"], (best, second)
"""


def test_the_trainer_takes_texts_and_fills_masks_under_the_other_name_of_the_task(text, tmp_path):
    texts = (text / "train.txt").read_text(encoding="utf-8").split("\n\n")[:40]
    script = SCRIPT.format(texts=texts, output=str(tmp_path / "out"), vocabulary=str(text / "vocab.txt"))
    run_code(script, tmp_path)
