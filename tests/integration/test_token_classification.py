"""Token classification in every mode, through run_mindformer.py and through Trainer."""

import json
import random

import pytest

from mindformers.data.entities import CLUENER_TYPES
from mindformers.trainer import Trainer
from tests.conftest import ROOT
from tests.integration.conftest import losses, run_script

NAMES = ("王小明", "李雷", "韩梅梅", "赵云")
PLACES = ("北京", "上海滩", "杭州", "海")
COMPANIES = ("腾讯", "百度公司", "ACME")
TEXTS = ("{name}住在{address}。", "{name}在{company}上班，", "{company}搬到{address}去了", "今天没有新闻。")
NEW_TEXT = "赵云住在杭州。"


def written(folder, rows, seed):
    """Write rows in CLUENER's format; every mention is at the only place where it stands."""
    chance = random.Random(seed)
    lines = []
    for index in range(rows):
        filled = {
            "name": chance.choice(NAMES),
            "address": chance.choice(PLACES),
            "company": chance.choice(COMPANIES),
        }
        text, label = TEXTS[index % len(TEXTS)], {}
        for kind, mention in filled.items():
            if f"{{{kind}}}" in text:
                begin = text.format(**filled).index(mention)
                label[kind] = {mention: [[begin, begin + len(mention) - 1]]}
        lines.append(json.dumps({"text": text.format(**filled), "label": label}, ensure_ascii=False))
    folder.write_text("\n".join(lines) + "\n", encoding="utf-8")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A small folder in CLUENER's format with a vocabulary of its characters."""
    folder = tmp_path_factory.mktemp("cluener")
    written(folder / "train.json", 160, seed=1)
    written(folder / "dev.json", 42, seed=2)  # no multiple of the batch size
    letters = sorted({letter for text in (*NAMES, *PLACES, *COMPANIES, *TEXTS) for letter in text.lower()})
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    (folder / "vocab.txt").write_text("\n".join([*special, *letters, *(f"##{item}" for item in "acme")]) + "\n")
    return folder


@pytest.fixture(scope="module")
def flags(data):
    return [
        "--config",
        ROOT / "configs" / "tokcls" / "run_tokcls_bert_tiny.yaml",
        "--dataset_dir",
        data,
        *(f"--{section}.data_loader.cache_dir={data / 'cache'}" for section in ("train_dataset", "eval_dataset")),
        *(f"--{section}.tokenizer.do_lower_case=true" for section in ("train_dataset", "eval_dataset")),
    ]


@pytest.fixture(scope="module")
def output(tmp_path_factory, flags):
    """The output folder of a finished training run, which evaluates itself."""
    folder = tmp_path_factory.mktemp("tokcls")
    run_script(*flags, "--run_mode", "train", "--output_dir", folder, "--do_eval")
    return folder


def results(output, mode, name):
    return (sorted((output / "runs").glob(f"*-{mode}"))[-1] / name).read_text(encoding="utf-8")


def test_training_lowers_the_loss_and_leaves_the_labels_beside_the_weights(output):
    steps = losses(output)
    assert len(steps) == 6 * 10 and steps[-1] < 0.2 * steps[0]
    (checkpoint,) = (output / "rank_0" / "checkpoint").resolve().iterdir()
    named = json.loads((checkpoint / "labels.json").read_text(encoding="utf-8"))["id2label"]
    assert [named[str(number)] for number in (0, 1, 11, 21)] == ["O", *(f"{item}-{CLUENER_TYPES[0]}" for item in "BIS")]
    log = (output / "log" / "rank_0" / "mindformers.log").read_text(encoding="utf-8")
    assert "Entity Metric = {'Entity Metric': {'precision':" in log


def test_evaluation_scores_every_row_overall_and_by_type(output, flags):
    said = run_script(*flags, "--run_mode", "eval", "--output_dir", output).stderr
    assert "scored 42 of 42" in said
    scores = json.loads(results(output, "eval", "eval_results.json"))
    assert (scores["scored"], scores["total"]) == (42, 42)
    assert scores["f1"] > 0.9
    assert {"name_f1", "address_precision", "company_recall"} < set(scores)


def test_prediction_says_what_stands_where_in_the_text_as_given(output, flags, tmp_path):
    texts = tmp_path / "texts.txt"
    texts.write_text(f"{NEW_TEXT}\n今天没有新闻。\n", encoding="utf-8")
    said = run_script(*flags, "--run_mode", "predict", "--output_dir", output, "--predict_data", texts).stderr
    assert "output result is: [[{'entity_group': 'name', 'start': 0, 'end': 2, 'score': " in said
    first, second = [json.loads(line) for line in results(output, "predict", "results.txt").splitlines()]
    assert [(item["entity_group"], item["word"]) for item in first] == [("name", "赵云"), ("address", "杭州")]
    assert all(NEW_TEXT[item["start"] : item["end"]] == item["word"] and item["score"] > 0.3 for item in first)
    assert second == []


def test_finetuning_starts_from_the_trained_weights(output, flags, tmp_path):
    (checkpoint,) = (output / "rank_0" / "checkpoint").resolve().iterdir()
    common = ["--run_mode", "finetune", "--load_checkpoint", checkpoint, "--output_dir", tmp_path]
    run_script(*flags, *common, "--epochs", "1", "--num_samples", "32", "--lr_schedule.learning_rate=1e-4")
    assert losses(tmp_path)[0] < 0.2 * losses(output)[0]


def test_another_number_of_outputs_is_one_message_that_names_both(flags, tmp_path):
    wrong = ["--run_mode", "train", "--output_dir", tmp_path, "--model.model_config.num_labels=9"]
    result = run_script(*flags, *wrong, check=False)
    assert result.returncode == 2 and "Traceback" not in result.stderr
    assert "model.model_config.num_labels is 9, but there are 31 labels: O, B-address" in result.stderr


COLUMNS = "EU B-ORG\nrejects O\nGerman B-MISC\ncalls O\n\nPeter B-PER\nBlackburn I-PER\n\nBrussels B-LOC\n\n"


def test_trainer_finds_labels_in_columns_and_keeps_them_for_prediction(tmp_path):
    (tmp_path / "train.txt").write_text("-DOCSTART- O\n\n" + COLUMNS * 8, encoding="utf-8")
    (tmp_path / "dev.txt").write_text(COLUMNS, encoding="utf-8")
    words = sorted({line.split()[0].lower() for line in COLUMNS.splitlines() if line})
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *words]
    (tmp_path / "vocab.txt").write_text("\n".join(vocabulary) + "\n")
    section = {
        "data_loader": {"type": "CoNLLDataLoader", "cache_dir": str(tmp_path / "cache")},
        "tokenizer": {"vocab_file": str(tmp_path / "vocab.txt"), "do_lower_case": True},
        "drop_remainder": False,
    }
    config = {
        "output_dir": str(tmp_path / "out"),
        "context": {"mode": 1},
        "model": {"model_config": {"num_labels": 9}},
        "train_dataset": section,
        "eval_dataset": section,
        "runner_config": {"epochs": 20, "batch_size": 8},
    }
    trainer = Trainer(
        args=config,
        task="token_classification",
        model="tokcls_bert_tiny",
        train_dataset=str(tmp_path),
        eval_dataset=str(tmp_path),
    )
    trainer.train()
    scores = trainer.evaluate(eval_checkpoint=True)
    assert scores["f1"] == 1.0 and scores["scored"] == 3
    (found,) = trainer.predict(predict_checkpoint=True, input_data=["Peter  Blackburn calls Brussels"])
    assert [(item["entity_group"], item["start"], item["end"], item["word"]) for item in found] == [
        ("PER", 0, 16, "Peter  Blackburn"),
        ("LOC", 23, 31, "Brussels"),
    ]


def test_a_hugging_face_folder_predicts_what_its_own_pipeline_does(data, tmp_path):
    torch = pytest.importorskip("torch", reason="needs: pip install 'mindformers[oracle]'")
    transformers = pytest.importorskip("transformers", reason="needs: pip install 'mindformers[oracle]'")
    labels = ["O", "B-PER", "I-PER", "B-LOC", "I-LOC"]
    torch.manual_seed(0)
    config = transformers.BertConfig(
        vocab_size=len((data / "vocab.txt").read_text(encoding="utf-8").splitlines()),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=128,
        initializer_range=0.5,
        id2label=dict(enumerate(labels)),
        label2id={label: number for number, label in enumerate(labels)},
    )
    folder = tmp_path / "theirs"
    theirs = transformers.BertForTokenClassification(config).eval()
    theirs.save_pretrained(folder)
    transformers.BertTokenizerFast(str(data / "vocab.txt")).save_pretrained(folder)
    tokenizer = transformers.BertTokenizerFast.from_pretrained(folder)
    texts = [text.format(name=NAMES[0], address=PLACES[1], company="ACME") for text in TEXTS]
    pipeline = transformers.pipeline("ner", model=theirs, tokenizer=tokenizer, aggregation_strategy="simple")
    expected = [[(item["entity_group"], item["start"], item["end"]) for item in pipeline(text)] for text in texts]
    chances = [item["score"] for text in texts for item in pipeline(text)]
    assert sum(map(len, expected)) > 5  # else this test shows nothing

    trainer = Trainer(
        args={"output_dir": str(tmp_path / "out"), "context": {"mode": 1}},
        task="token_classification",
        model=str(folder),
    )
    found = trainer.predict(input_data=texts)
    assert [[(item["entity_group"], item["start"], item["end"]) for item in items] for items in found] == expected
    assert [item["score"] for items in found for item in items] == pytest.approx(chances, abs=1e-4)
