"""YAML text to plain values with origins."""

import pytest

from mindformers.config.source import dotted, read_text, scalar
from mindformers.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-5", 1e-5),
        ("3E4", 3e4),
        ("-.5", -0.5),
        ("1.", 1.0),
        ("12", 12),
        ("-3", -3),
        ("0x10", 16),
        ("true", True),
        ("False", False),
        ("null", None),
        ("~", None),
        ("no", "no"),
        ("on", "on"),
        ("1e", "1e"),
        ("1_000", "1_000"),
        ("2026-11-21", "2026-11-21"),
        ("[CLS]", "[CLS]"),
    ],
)
def test_plain_text_means_what_yaml_1_2_says(text, value):
    assert scalar(text) == value
    assert type(scalar(text)) is type(value)


def test_quoted_text_stays_text():
    assert read_text("a: '1e-5'\nb: \"True\"\n", "f.yaml").tree == {"a": "1e-5", "b": "True"}


def test_every_value_knows_its_line():
    layer = read_text("a: 1\nb:\n  - c: 2\n    d: 3\n", "f.yaml")
    assert layer.origins[("a",)] == "f.yaml:1"
    assert layer.origins[("b", 0, "d")] == "f.yaml:4"


def test_a_duplicate_key_is_an_error_that_names_both_lines():
    with pytest.raises(ConfigError, match=r"f.yaml:3: a: duplicate key; first written at f.yaml:1"):
        read_text("a: 1\nb: 2\na: 3\n", "f.yaml")


def test_bad_yaml_is_reported_with_its_line():
    with pytest.raises(ConfigError, match=r"f.yaml:2: not valid YAML"):
        read_text("a: 1\n b: [\n", "f.yaml")


def test_a_file_that_is_a_list_is_an_error():
    with pytest.raises(ConfigError, match="keys and values at its top level"):
        read_text("- 1\n", "f.yaml")


def test_anchors_and_merge_keys_are_followed():
    layer = read_text("a: &x {k: 1, m: 2}\nb: *x\nc:\n  <<: *x\n  m: 5\n", "f.yaml")
    assert layer.tree["b"] == {"k": 1, "m": 2}
    assert layer.tree["c"] == {"m": 5, "k": 1}


def test_an_anchor_inside_itself_is_an_error_and_no_endless_loop():
    with pytest.raises(ConfigError):
        read_text("a: &x\n  b: *x\n", "f.yaml")


def test_paths_are_shown_with_dots_and_brackets():
    assert dotted(("callbacks", 2, "prefix")) == "callbacks[2].prefix"
