"""Families' weight maps: every name of Hugging Face consumed once, every parameter of ours produced once."""

import numpy as np
import pytest

from mindformers.arch.paths import parameter_table
from mindformers.models.bert.config import BertConfig
from mindformers.models.bert.weights import WEIGHTS

SMALL = {
    "vocab_size": 50,
    "hidden_size": 8,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "intermediate_size": 16,
    "max_position_embeddings": 12,
}
CASES = [("pooler", "BertModel"), ("question_answering", "BertForQuestionAnswering")]


def paths(head):
    return parameter_table(BertConfig(**SMALL).arch(head))


@pytest.fixture(scope="module")
def transformers():
    pytest.importorskip("torch", reason="needs: pip install 'mindformers[oracle]'")
    return pytest.importorskip("transformers", reason="needs: pip install 'mindformers[oracle]'")


@pytest.mark.parametrize(("head", "class_name"), CASES)
def test_every_name_is_consumed_once_and_every_parameter_produced_once(transformers, head, class_name):
    theirs = getattr(transformers, class_name)(transformers.BertConfig(**SMALL)).state_dict()
    table = paths(head)
    plan = WEIGHTS.plan(theirs, table)
    assert not plan.missing
    assert not plan.unexpected
    assert not plan.ignored
    assert sorted(plan.sources) == sorted(table)
    assert sorted(plan.sources.values()) == sorted(theirs)
    assert {path: tuple(theirs[name].shape) for path, name in plan.sources.items()} == {
        path: spec.shape for path, spec in table.items()
    }


@pytest.mark.parametrize(("head", "class_name"), CASES)
def test_there_and_back_is_the_same_name(head, class_name):
    for path in paths(head):
        assert WEIGHTS.ours(WEIGHTS.theirs(path, base=head == "pooler"))[0] == path


def test_a_file_of_the_base_model_has_no_prefix():
    plan = WEIGHTS.plan([WEIGHTS.theirs(path, base=True) for path in paths("pooler")], paths("question_answering"))
    assert plan.missing == ["head.span.bias", "head.span.weight"]
    assert not plan.unexpected
    assert set(plan.ignored) == {"pooler.dense.weight", "pooler.dense.bias"}


def test_a_layer_that_the_model_does_not_have_is_unexpected_and_not_ignored():
    names = [WEIGHTS.theirs(path) for path in paths("question_answering")]
    plan = WEIGHTS.plan([*names, "bert.encoder.layer.3.output.dense.weight"], paths("question_answering"))
    assert plan.unexpected == ["bert.encoder.layer.3.output.dense.weight"]


def test_old_spellings_of_layer_norm_are_known():
    assert WEIGHTS.ours("bert.embeddings.LayerNorm.gamma") == ("embed.norm.weight", False)
    assert WEIGHTS.ours("bert.encoder.layer.1.output.LayerNorm.beta") == ("layers.1.norm_mlp.bias", False)


def test_heads_of_other_tasks_are_ignored_with_a_reason():
    plan = WEIGHTS.plan(["cls.predictions.bias", "bert.embeddings.position_ids", "classifier.weight"], [])
    assert set(plan.ignored) == {"cls.predictions.bias", "bert.embeddings.position_ids", "classifier.weight"}
    assert all(plan.ignored.values())


def test_a_configuration_goes_to_hugging_face_and_back():
    config = BertConfig(**SMALL, hidden_act="gelu_new", initializer_range=0.03)
    assert BertConfig.from_hf(config.to_hf()) == config


def test_what_the_encoder_cannot_be_is_refused():
    from mindformers.errors import UsageError

    with pytest.raises(UsageError, match="position_embedding_type is 'relative_key'"):
        BertConfig.from_hf({"position_embedding_type": "relative_key"})
    with pytest.raises(UsageError, match="Did you mean 'gelu'"):
        BertConfig.from_hf({"hidden_act": "gelo"})


def test_bert_base_has_the_published_number_of_parameters():
    # Hugging Face: sum(p.numel() for p in BertForQuestionAnswering(BertConfig()).parameters())
    from mindformers.arch.paths import count

    assert count(parameter_table(BertConfig().arch("question_answering"))) == 108_893_186
    assert np.prod(parameter_table(BertConfig().arch("none"))["embed.tokens.weight"].shape) == 30522 * 768
