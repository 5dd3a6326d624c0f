"""The tables of `mindformers list`."""

import subprocess
import sys
import time

import pytest

from mindformers import listing
from mindformers.cli import main
from mindformers.config.model_files import model_files, read_model
from mindformers.config.places import run_files
from tests.conftest import ROOT

SECONDS = 2.0
"""What the table of parameters may take, with the start of Python."""


def rows_of(text):
    return {line.split()[0]: line for line in text.splitlines()[2:]}


def test_models_are_the_run_files(capsys):
    assert main(["list", "models"]) == 0
    rows = rows_of(capsys.readouterr().out)
    assert set(rows) == set(run_files())
    assert "BertForQuestionAnswering" in rows["qa_bert_tiny"]


def test_tasks_name_the_families_that_serve_them(capsys):
    assert main(["list", "tasks"]) == 0
    rows = rows_of(capsys.readouterr().out)
    assert rows["text_generation"].split()[1:4] == ["ForCausalLM", "gpt2,", "llama,"]
    assert rows["translation"].split()[1:4] == ["ForSeq2SeqLM", "t5", "TranslationDataLoader"]


def test_parameters_of_every_size_are_listed(capsys):
    assert main(["list", "models", "--params"]) == 0
    rows = rows_of(capsys.readouterr().out)
    assert list(rows) == sorted(model_files(), key=lambda name: str(model_files()[name]))
    assert rows["llama_7b"].split() == ["llama_7b", "llama", "LlamaConfig", "causal_lm", "6,738,415,616", "6.74", "B"]
    assert rows["bert_base_uncased"].split()[3:] == ["pooler", "109,482,240", "109.5", "M"]


def test_numbers_stand_below_each_other(capsys):
    main(["list", "models", "--params"])
    lines = capsys.readouterr().out.splitlines()
    ends = {line.rindex(",") for line in lines if line.count(",") >= 2}
    assert len(ends) == 1


def test_only_models_have_parameters(capsys):
    assert main(["list", "tasks", "--params"]) == 2
    assert "only models have parameters" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "head"),
    [
        ("bert_base_uncased", "pooler"),
        ("qa_bert_tiny", "question_answering"),
        ("gpt2", "causal_lm"),
        ("t5_small", "seq2seq_lm"),
    ],
)
def test_the_head_of_the_published_number_is_counted(name, head):
    assert listing.counted_head(read_model(model_files()[name])) == head


@pytest.mark.parametrize(("class_name", "head"), [("GPT2Model", "none"), ("GPT2LMHeadModel", "causal_lm")])
def test_a_class_that_a_file_names_decides(tmp_path, class_name, head):
    file = tmp_path / "x.yaml"
    file.write_text(f"model: {{model_config: {{type: GPT2Config}}, arch: {{type: {class_name}}}}}", encoding="utf-8")
    assert listing.counted_head(read_model(file)) == head


def test_every_head_has_a_name_in_the_catalog():
    from mindformers.catalog import FAMILIES
    from mindformers.config.model_files import DescribedModel

    for family in FAMILIES.values():
        config = type("Config", (), {"model_type": family.package.rsplit(".", 1)[1]})()
        for class_name in family.classes.values():
            assert listing.counted_head(DescribedModel(None, None, config, class_name, None, {}))


@pytest.mark.parametrize(
    ("number", "text"),
    [(4_385_920, "4.4 M"), (999_949_999, "999.9 M"), (999_999_999, "1.00 B"), (51_966_533_632, "51.97 B")],
)
def test_large_numbers_are_rounded(number, text):
    assert listing.rounded(number) == text


def test_the_table_needs_no_framework_and_little_time():
    code = (
        "import sys; from mindformers.cli import main; main(['list', 'models', '--params']); "
        "sys.exit(any(name in sys.modules for name in ('mindspore', 'torch', 'transformers')))"
    )
    best = 10.0
    for _ in range(3):  # the machine may be busy with something else
        started = time.monotonic()
        result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
        best = min(best, time.monotonic() - started)
        assert result.returncode == 0, result.stderr
    assert best < SECONDS
