"""Chat templates: built-in formats, templates of the files, what they may do, and clear refusals."""

import datetime
import sys

import pytest

from mindformers.errors import MissingExtraError, UnknownNameError, UsageError
from mindformers.tokenizers.chat import TEMPLATES, render

pytest.importorskip("jinja2", reason="needs: pip install 'mindformers[chat]'")

TALK = [
    {"role": "system", "content": "Be kind."},
    {"role": "user", "content": "Hi"},
    {"role": "assistant", "content": "Hello."},
    {"role": "user", "content": "Bye"},
]


def written(template, messages=TALK, prompt=True, **variables):
    named = {"bos_token": "<s>", "eos_token": "</s>"}
    return render(None, template, {"messages": messages, "add_generation_prompt": prompt, **named, **variables})


@pytest.mark.parametrize(
    "name, text",
    [
        (
            "llama2",
            "<s>[INST] <<SYS>>\nBe kind.\n<</SYS>>\n\nHi [/INST] Hello. </s><s>[INST] Bye [/INST]",
        ),
        ("baichuan", "Be kind.<reserved_102>Hi<reserved_103>Hello.</s><reserved_102>Bye<reserved_103>"),
        ("baichuan2", "Be kind.<reserved_106>Hi<reserved_107>Hello.</s><reserved_106>Bye<reserved_107>"),
        ("internlm", "<s><|System|>:Be kind.\n<|User|>:Hi\n<|Bot|>:Hello.<eoa>\n<|User|>:Bye\n<|Bot|>:"),
        ("bloom", "Be kind.\n\nHuman: Hi\n\nAssistant:Hello.</s>\n\nHuman: Bye\n\nAssistant:"),
        (
            "alpaca",
            "<s>Be kind.\n\n### Instruction:\nHi\n\n### Response:Hello.</s>\n\n### Instruction:\nBye\n\n### Response:",
        ),
    ],
)
def test_a_built_in_format_writes_turns_as_its_model_was_tuned_on_them(name, text):
    assert written(name) == text


def test_alpaca_has_one_preamble_for_records_with_input_and_one_for_those_without():
    preamble = "<s>Below is an instruction that describes a task"
    request = "Write a response that appropriately completes the request.\n\n### Instruction:\nAdd\n\n"
    assert written("alpaca", [{"role": "user", "content": "Add"}]) == f"{preamble}. {request}### Response:"
    assert written("alpaca", [{"role": "user", "content": "Add", "input": "1 2"}]) == (
        f"{preamble}, paired with an input that provides further context. {request}### Input:\n1 2\n\n### Response:"
    )


def test_without_a_prompt_the_text_ends_with_the_last_turn():
    assert written("bloom", TALK[1:3], prompt=False) == "Human: Hi\n\nAssistant:Hello.</s>"


def test_templates_find_the_functions_they_rely_on():
    template = (
        "{% for m in messages %}\n"
        "    {% if loop.index > 2 %}{% break %}{% endif %}\n"
        "    {% generation %}{{ m.content }}{% endgeneration %}\n"
        "{% endfor %}\n"
        "{{ tools | tojson }}|{{ strftime_now('%Y') }}|{{ flag }}"
    )
    year = datetime.datetime.now().strftime("%Y")
    made = written(template, tools=[{"ü": "<&"}], flag="on")
    assert '[{"ü": "<&"}]' in made and made.endswith(f"|{year}|on") and "Hello" not in made


def test_the_stored_template_is_used_unless_another_is_asked_for():
    stored = [{"name": "default", "template": "own"}, {"name": "tools", "template": "with tools"}]
    assert render("only {{ x }}", None, {"x": 1}) == "only 1"
    assert render(stored, None, {}) == "own"
    assert render(stored, "tools", {}) == "with tools"
    assert render(stored, "{{ 1 + 1 }}", {}) == "2"


def test_what_a_template_refuses_is_a_clear_error():
    with pytest.raises(UsageError, match="roles must alternate"):
        written("{{ raise_exception('roles must alternate') }}")
    with pytest.raises(UsageError, match="TemplateSyntaxError"):
        written("{% for %}")


def test_a_template_can_neither_reach_into_python_nor_change_what_it_is_given():
    with pytest.raises(UsageError, match="SecurityError"):
        written("{{ messages.__class__.__mro__ }}")
    with pytest.raises(UsageError, match="SecurityError"):
        written("{{ messages.append(1) }}")


def test_no_template_is_an_error_that_names_the_built_in_ones():
    with pytest.raises(UsageError, match="the tokenizer has none; .*alpaca"):
        render(None, None, {})
    with pytest.raises(UsageError, match=r"only named ones \(rag\)"):
        render([{"name": "rag", "template": "x"}], None, {})
    with pytest.raises(UnknownNameError, match="Did you mean 'llama2'"):
        render(None, "llama_2", {})


def test_without_jinja_the_package_to_install_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "jinja2", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'mindformers\[chat\]'"):
        render("x", None, {})


def test_the_names_are_those_the_documentation_lists():
    assert set(TEMPLATES) == {"alpaca", "llama2", "baichuan", "baichuan2", "internlm", "bloom"}
