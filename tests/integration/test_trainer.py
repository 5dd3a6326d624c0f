"""The Python door: the lines of the guide, with local paths."""

import os
import subprocess
import sys

import pytest

from mindformers.errors import ConfigError, UnknownNameError, UsageError
from tests.conftest import ROOT

GUIDE = """
from mindformers.trainer import Trainer

trainer = Trainer(task='question_answering',
                  model='qa_bert_tiny',
                  train_dataset='./squad/',
                  eval_dataset='./squad/')
trainer.train(resume_or_finetune_from_checkpoint="qa_bert_tiny",
              do_finetune=True)
trainer.evaluate(eval_checkpoint=True)
input_data = ["My name is Wolfgang and I live in Berlin - Where do I live?"]
print("ANSWER", trainer.predict(predict_checkpoint=True, input_data=input_data))
scores = trainer.train(do_eval=True)
print("SCORES", sorted(scores))
"""


@pytest.fixture(scope="module")
def workplace(tmp_path_factory, corpus, trained):
    """A folder as a user has it: ./squad, ./checkpoint_download and a model of the corpus's vocabulary."""
    folder = tmp_path_factory.mktemp("workplace")
    (folder / "squad").symlink_to(corpus)
    (folder / "data").mkdir()
    (folder / "data" / "qa_corpus").symlink_to(corpus)
    (folder / "checkpoint_download" / "bert").mkdir(parents=True)
    checkpoint = next((trained / "rank_0" / "checkpoint").resolve().iterdir())
    (folder / "checkpoint_download" / "bert" / "qa_bert_tiny").symlink_to(checkpoint)
    return folder


def test_the_lines_of_the_guide_run_word_for_word(workplace, corpus):
    words = len((corpus / "vocab.txt").read_text().splitlines())
    sizes = {
        "vocab_size": words,
        "num_hidden_layers": 1,
        "hidden_size": 32,
        "num_attention_heads": 2,
        "intermediate_size": 64,
    }
    lines = "\n".join(f"    {key}: {value}" for key, value in sizes.items())
    (workplace / "run_qa_bert_tiny.yaml").write_text(
        f"base_config: [{ROOT}/configs/qa/run_qa_bert_tiny.yaml]\nmodel:\n  model_config:\n{lines}\n"
        "runner_config: {epochs: 1, batch_size: 16}\n"
    )
    script = workplace / "guide.py"
    script.write_text(GUIDE.replace("model='qa_bert_tiny'", "model='run_qa_bert_tiny.yaml'"))
    result = subprocess.run(
        [sys.executable, str(script)],
        cwd=workplace,
        capture_output=True,
        text=True,
        timeout=600,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert result.returncode == 0, result.stdout + result.stderr
    assert "QA Metric = {'QA Metric': {'exact_match':" in result.stderr
    assert "ANSWER [{'text':" in result.stdout
    assert "SCORES ['exact_match', 'f1', 'scored', 'total']" in result.stdout
    assert [run.name for run in sorted((workplace / "output" / "runs").iterdir())] == [
        "0001-finetune",
        "0002-eval",
        "0003-predict",
        "0004-train",
    ]


@pytest.fixture
def trainer_class():
    from mindformers import Trainer

    return Trainer


def test_an_unknown_task_or_model_names_the_nearest(trainer_class):
    with pytest.raises(UnknownNameError, match="Did you mean 'question_answering'"):
        trainer_class(task="question_answerin", model="qa_bert_tiny")
    with pytest.raises(UnknownNameError, match="Did you mean 'qa_bert_tiny'"):
        trainer_class(task="question_answering", model="qa_bert_tin")


def test_a_wrong_argument_is_reported_when_the_trainer_is_made(trainer_class):
    with pytest.raises(ConfigError, match="Did you mean 'weight_decay'"):
        trainer_class(task="question_answering", model="qa_bert_tiny", args={"optimizer": {"weigth_decay": 0.1}})
    with pytest.raises(UsageError, match="needs input_data"):
        trainer_class(task="question_answering", model="qa_bert_tiny").predict()


def test_training_arguments_land_in_the_configuration(trainer_class, tmp_path):
    from mindformers import TrainingArguments

    trainer = trainer_class(
        task="question_answering",
        model="qa_bert_tiny",
        args=TrainingArguments(
            output_dir=str(tmp_path),
            num_train_epochs=7,
            learning_rate=1e-5,
            warmup_ratio=0.2,
            max_grad_norm=0.5,
            weight_decay=0.3,
        ),
    )
    text = trainer.save_config(tmp_path / "saved.yaml").read_text()
    assert "epochs: 7" in text
    assert "max_grad_norm: 0.5" in text
    assert "# TrainingArguments.weight_decay" in text
    assert trainer.get_last_checkpoint() is None


def test_a_folder_says_what_its_weights_are_and_not_how_a_run_computes(trainer_class, tmp_path):
    from mindformers import BertConfig

    BertConfig(hidden_size=32, num_attention_heads=2, num_hidden_layers=3).save_pretrained(tmp_path / "model")
    wanted = {"type": "BertConfig", "compute_dtype": "bfloat16", "param_init_type": "bfloat16", "num_hidden_layers": 5}
    args = {"model": {"model_config": wanted}}
    trainer = trainer_class(task="question_answering", model=str(tmp_path / "model"), args=args)
    text = trainer.save_config(tmp_path / "saved.yaml").read_text()
    assert "compute_dtype: bfloat16" in text and "param_init_type: bfloat16" in text
    assert "num_hidden_layers: 3" in text


def test_a_run_may_start_in_a_process_that_has_computed_already():
    script = (
        "import numpy as np, mindspore as ms\n"
        "print(ms.Tensor(np.ones(2, np.float32)) + 1)\n"
        "from mindformers.config.check import check_file\n"
        "from mindformers.config.places import find_config\n"
        "from mindformers.parallel.context import start\n"
        "print('STARTED', start(check_file(find_config('qa_bert_tiny'), []).run).device_target)\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    result = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=120, env=environment
    )
    assert "STARTED CPU" in result.stdout, result.stderr
