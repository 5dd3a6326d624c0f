"""Settings of generation: defaults, refusals, what a model's folder says."""

import json
import re

import pytest

from mindformers.errors import CheckpointError, UnknownNameError, UsageError
from mindformers.generation.settings import GenerationConfig
from mindformers.models.gpt2.config import GPT2Config


def test_every_default_is_the_contracts_but_recompute():
    settings = GenerationConfig()
    assert settings.recompute is False  # True there, where it is the only exact way; see "Choices" in docs/design.md
    assert (settings.top_k, settings.top_p, settings.temperature, settings.do_sample) == (50, 1.0, 1.0, False)
    assert (settings.num_beams, settings.num_return_sequences, settings.length_penalty) == (1, 1, 1.0)
    assert (settings.max_length, settings.max_new_tokens) == (128, 0)
    assert settings.detokenize and not settings.include_input and not settings.stream
    assert not settings.return_output_log_probs


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"top_p": 0.0}, "top_p=0.0"),
        ({"top_p": 1.5}, "top_p=1.5"),
        ({"top_p": float("nan")}, "top_p=nan"),
        ({"temperature": 0}, "do_sample to false"),
        ({"num_beams": 2, "num_return_sequences": 3}, "at most as many texts as it has beams"),
        ({"num_return_sequences": 2}, "set do_sample=True"),
        ({"top_k": -1}, "top_k=-1"),
        ({"max_length": 12.5}, "max_length=12.5"),
        ({"num_beams": 2, "stream": True}, "stream=True"),
        ({"stop": ("",)}, "stop="),
        ({"repetition_penalty": 0}, "repetition_penalty=0"),
        ({"seed": -1}, "seed=-1"),
        ({"do_sample": "no"}, "do_sample='no': it must be True or False"),
        ({"recompute": 1}, "recompute=1: it must be True or False"),
        ({"early_stopping": "sometimes"}, "early_stopping='sometimes': it must be True, False or 'never'"),
        ({"eos_token_id": "</s>"}, "eos_token_id='</s>': it must be the id of a token"),
        ({"eos_token_id": [1, None]}, "it must be the id of a token, several of them"),
        ({"pad_token_id": 1.0}, "pad_token_id=1.0"),
        ({"stop": 5}, "stop=5: it must be a text or several"),
        ({"stop": [5]}, "it must be a text or several"),
        ({"stream": True, "return_output_log_probs": True}, "without log-probabilities"),
    ],
)
def test_a_setting_that_cannot_be_is_refused_with_its_value(options, said):
    with pytest.raises(UsageError, match=re.escape(said)):
        GenerationConfig(**options)


def test_all_problems_are_said_at_once():
    with pytest.raises(UsageError) as error:
        GenerationConfig(top_k=-1, num_beams=0, temperature=-2.0)
    assert all(name in str(error.value) for name in ("3 settings", "top_k=-1", "num_beams=0", "temperature=-2.0"))


def test_an_unknown_name_is_answered_with_the_nearest():
    with pytest.raises(UnknownNameError, match="temperature"):
        GenerationConfig().changed({"temprature": 1.0})


def test_the_file_beside_the_weights_comes_before_the_configuration(tmp_path):
    values = {"eos_token_id": [7, 8], "top_k": 3, "do_sample": None, "transformers_version": "5.0"}
    (tmp_path / "generation_config.json").write_text(json.dumps(values))
    settings = GenerationConfig.of_model(GPT2Config(), tmp_path)
    assert (settings.eos, settings.top_k, settings.do_sample, settings.bos_token_id) == ((7, 8), 3, False, 50256)


def test_without_a_file_the_configuration_names_the_special_tokens(tmp_path):
    assert GenerationConfig.of_model(GPT2Config(), tmp_path).eos == (50256,)


def test_a_damaged_file_is_named(tmp_path):
    (tmp_path / "generation_config.json").write_text("{")
    with pytest.raises(CheckpointError, match=r"generation_config\.json"):
        GenerationConfig.of_model(None, tmp_path)
