"""A folder as a model that answers: its end tokens, its template, its settings, and what is refused."""

import json

import numpy as np
import pytest

from mindformers.chat.speaker import Speaker, sampled
from mindformers.errors import UnknownNameError, UsageError
from mindformers.generation.settings import GenerationConfig
from mindformers.tokenizers.chat import ENDS, TEMPLATES
from mindformers.weights.writers import save_safetensors
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


def test_an_adapter_changes_the_weights_it_names(folder, speaker, tmp_path):
    factors = {"A": np.full((1, 32), 0.5, np.float32), "B": np.full((128, 1), 3, np.float32)}
    name = "base_model.model.transformer.h.0.mlp.c_fc.lora_{}.weight"
    save_safetensors(
        tmp_path / "adapter_model.safetensors", {name.format(side): value for side, value in factors.items()}
    )
    settings = {"peft_type": "LORA", "lora_alpha": 2, "fan_in_fan_out": True}
    (tmp_path / "adapter_config.json").write_text(json.dumps(settings))
    adapted = Speaker.load(str(folder), adapter=str(tmp_path))
    pairs = zip(speaker.model.get_parameters(), adapted.model.get_parameters())
    changes = {old.name: new.asnumpy() - old.asnumpy() for old, new in pairs if (new != old).any()}
    assert list(changes) == ["layers.0.mlp.up.weight"]
    np.testing.assert_allclose(changes["layers.0.mlp.up.weight"], 3.0, atol=1e-5)


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
