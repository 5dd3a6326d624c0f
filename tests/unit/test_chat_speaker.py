"""A folder as a model that answers: its end tokens, its template, its settings, and what is refused."""

import json

import pytest

from mindformers.chat.speaker import Speaker, sampled
from mindformers.errors import UnknownNameError, UsageError
from mindformers.generation.settings import GenerationConfig
from mindformers.tokenizers.chat import ENDS, TEMPLATES
from tests.unit.tiny_speaker import POSITIONS, write_speaker

pytest.importorskip("jinja2", reason="needs: pip install 'mindformers[chat]'")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_speaker(tmp_path_factory.mktemp("speaker") / "tiny")


@pytest.fixture(scope="module")
def speaker(folder):
    return Speaker.load(str(folder))


def test_the_end_tokens_of_model_and_tokenizer_end_a_text(speaker):
    assert speaker.settings.eos == (3, 2) and speaker.tokenizer.eos_token_id == 2


def test_end_tokens_beside_the_weights_stay(tmp_path):
    folder = write_speaker(tmp_path / "tiny")
    (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": [5, 2], "do_sample": True}))
    assert Speaker.load(str(folder)).settings.eos == (5, 2)


def test_prompts_follow_the_template(speaker, folder):
    talk = [{"role": "user", "content": "dog"}]
    assert speaker.tokenizer.decode(speaker.prompt(talk)) == "<u>dog<a>"
    named = Speaker.load(str(folder), template="bloom")
    assert named.tokenizer.decode(named.prompt(talk)) == "Human: dog\n\nAssistant:"
    assert speaker.most_tokens == POSITIONS


def test_every_end_belongs_to_a_template():
    assert set(ENDS) < set(TEMPLATES)


def test_the_next_turn_of_a_built_in_template_ends_an_answer(folder):
    named = Speaker.load(str(folder), template="bloom")
    assert named.chat_settings.stop == ("\nHuman:",) and named.settings.stop == ()


def test_a_next_turn_that_is_a_token_ends_an_answer_by_its_id(folder, monkeypatch):
    monkeypatch.setitem(ENDS, "internlm", "<s>")
    named = Speaker.load(str(folder), template="internlm")
    assert named.chat_settings.eos == (3, 2, 0) and named.chat_settings.stop == ()


def test_an_unknown_template_is_refused_with_the_names_there_are(folder):
    with pytest.raises(UnknownNameError, match="alpaca, baichuan, baichuan2, bloom, default, internlm, llama2"):
        Speaker.load(str(folder), template="zzz")


def test_an_adapter_is_refused(folder):
    with pytest.raises(UsageError, match="--adapter there: this version cannot add adapters"):
        Speaker.load(str(folder), adapter="there")


def test_a_folder_without_tokenizer_is_refused(tmp_path):
    folder = write_speaker(tmp_path / "tiny")
    for name in ("tokenizer.json", "vocab.json", "merges.txt", "tokenizer_config.json"):
        (folder / name).unlink()
    with pytest.raises(UsageError, match="no tokenizer lies beside the weights"):
        Speaker.load(str(folder))


def test_a_temperature_draws_and_zero_does_not():
    settings = GenerationConfig(do_sample=True, top_k=7)
    assert sampled(settings, {"temperature": 0}) == GenerationConfig(do_sample=False, top_k=7)
    assert sampled(GenerationConfig(), {"top_p": 0.5}) == GenerationConfig(do_sample=True, top_p=0.5)
    assert sampled(settings, {"temperature": None}) is settings
