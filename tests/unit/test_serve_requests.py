"""Requests in the OpenAI API's form: what they mean, and what a client is told about those that mean nothing."""

import pytest
from pydantic import ValidationError

from mindformers.generation.settings import GenerationConfig
from mindformers.serve.refusals import RefusedError, refusal_of
from mindformers.serve.requests import ChatRequest, CompletionRequest


def completion(**values):
    return CompletionRequest(**{"model": "m", "prompt": "p", **values})


def test_a_request_that_says_nothing_is_drawn_from_the_whole_distribution():
    expected = GenerationConfig(do_sample=True, temperature=1.0, top_p=1.0, top_k=0)
    assert completion().settings(GenerationConfig()) == expected


def test_what_the_model_says_about_drawing_stays_unless_the_request_says_otherwise():
    base = GenerationConfig(do_sample=True, temperature=0.6, top_p=0.9, top_k=20)
    assert completion().settings(base) == base
    assert completion(temperature=0.2).settings(base) == base.changed({"temperature": 0.2})


def test_a_temperature_of_zero_takes_the_likeliest_token():
    assert not completion(temperature=0).settings(GenerationConfig()).do_sample
    assert not completion(temperature=0).settings(GenerationConfig(do_sample=True)).do_sample


def test_stop_texts_come_to_those_of_the_model():
    assert completion(stop="a").settings(GenerationConfig(stop="b")).stop == ("b", "a")
    assert completion(stop=["a", "c"]).settings(GenerationConfig()).stop == ("a", "c")


def test_any_seed_can_be_used():
    assert completion(seed=-1).settings(GenerationConfig()).seed == 2**64 - 1


def test_the_parts_of_a_message_are_one_text_and_a_developer_is_the_system():
    parts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    request = ChatRequest(model="m", messages=[{"role": "developer", "content": parts}])
    assert request.messages[0].plain() == {"role": "system", "content": "ab"}


@pytest.mark.parametrize("name", ["frequency_penalty", "logit_bias", "echo", "best_of"])
def test_a_parameter_without_effect_is_taken_when_it_asks_for_nothing(name):
    for nothing in (None, 0, False, {}):
        assert not getattr(completion(**{name: nothing}), name)
    with pytest.raises(ValidationError, match="this server cannot do it"):
        completion(**{name: 1})


@pytest.mark.parametrize(
    ("values", "param", "code"),
    [
        ({"temperature": 2.5}, "temperature", "invalid_value"),
        ({"temperature": "0.5"}, "temperature", "invalid_value"),
        ({"top_p": 0}, "top_p", "invalid_value"),
        ({"n": 0}, "n", "invalid_value"),
        ({"stop": list("abcde")}, "stop", "invalid_value"),
        ({"max_token": 3}, "max_token", "unknown_parameter"),
        ({"logprobs": 0}, "logprobs", "invalid_value"),
    ],
)
def test_a_wrong_value_is_told_with_its_name(values, param, code):
    with pytest.raises(ValidationError) as caught:
        completion(**values)
    problems = [{**problem, "loc": ("body", *problem["loc"])} for problem in caught.value.errors()]
    body = refusal_of(problems).body()["error"]
    assert body["type"] == "invalid_request_error" and body["code"] == code
    assert body["param"].split(".")[0] == param and param in body["message"]


def test_the_type_of_an_error_follows_from_its_status():
    types = [RefusedError(status, "").body()["error"]["type"] for status in (400, 401, 404, 429, 500)]
    assert types == [
        "invalid_request_error",
        "authentication_error",
        "not_found_error",
        "rate_limit_error",
        "server_error",
    ]
