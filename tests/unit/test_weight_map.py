"""Families' weight maps: every name of Hugging Face consumed once, every parameter of ours produced once."""

import dataclasses

import numpy as np
import pytest

from mindformers.arch.paths import count, parameter_table
from mindformers.arch.stacks import HEAD_OF_CLASS
from mindformers.catalog import FAMILIES
from mindformers.errors import UsageError
from mindformers.models.bert.config import BertConfig
from mindformers.models.bert.weights import WEIGHTS
from mindformers.models.hf_config import RUN_FIELDS
from mindformers.models.internlm.config import InternLMConfig
from mindformers.models.llama.config import LlamaConfig
from mindformers.registry import load_object
from mindformers.weights.layout import cut, cut_shape, join, joined_shape
from mindformers.weights.mapping import Ignore, Pack, Rename, Step, WeightMap
from tests.parity.family_cases import CASES

SMALL = {
    "vocab_size": 50,
    "hidden_size": 8,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "intermediate_size": 16,
    "max_position_embeddings": 12,
}


def oracle():
    pytest.importorskip("torch", reason="needs: pip install 'mindformers[oracle]'")
    return pytest.importorskip("transformers", reason="needs: pip install 'mindformers[oracle]'")


def family_of(case):
    """Return configuration, weight map and model class's head of a case."""
    family = FAMILIES[case.config["model_type"]]
    config = load_object(f"{family.package}.config:{family.config}").from_hf(case.config)
    ending = next(key for key, name in family.classes.items() if name == case.model)
    head = "pooler" if case.is_encoder and ending == "" else HEAD_OF_CLASS[ending]
    return config.arch(head), load_object(f"{family.package}.weights:WEIGHTS"), ending == ""


def paths(head):
    return parameter_table(BertConfig(**SMALL).arch(head))


def names(head, base=False):
    return [step.theirs for step in WEIGHTS.export(list(paths(head)), base=base)]


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_every_name_is_consumed_once_and_every_parameter_produced_once(case):
    oracle()
    from tests.parity.family_oracle import build

    theirs = build(case)[1]
    arch, weight_map, _ = family_of(case)
    table = parameter_table(arch)
    plan = weight_map.plan(theirs, table)
    assert (plan.missing, plan.unexpected) == ([], [])
    assert set(plan.ignored) <= {name for name in theirs if name.endswith("predictions.bias")}  # bert-untied has two
    produced = [path for step in plan.steps for path in step.paths]
    assert sorted(produced) == sorted(table)
    assert sorted([step.theirs for step in plan.steps] + list(plan.ignored)) == sorted(theirs)
    for step in plan.steps:
        for path in step.paths:
            assert cut_shape(step, theirs[step.theirs]) == table[path].shape


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_there_and_back_is_the_same_tensor_bit_for_bit(case):
    arch, weight_map, base = family_of(case)
    table = parameter_table(arch)
    ours = {path: np.random.default_rng(0).standard_normal(spec.shape) for path, spec in table.items()}
    steps = weight_map.export(list(table), base)
    file = {step.theirs: join(step, [ours[path] for path in step.paths], arch.num_heads) for step in steps}
    plan = weight_map.plan(file, table)
    assert (plan.missing, plan.unexpected, plan.ignored) == ([], [], {})
    for step in plan.steps:
        assert joined_shape(step, table[step.paths[0]].shape) == file[step.theirs].shape
        for path, array in zip(step.paths, cut(step, file[step.theirs], arch.num_heads)):
            assert np.array_equal(array, ours[path])
    again = weight_map.export(list(table), base)
    assert [step.theirs for step in again] == list(file)


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("packing", ["rows", "heads"])
def test_packed_tensors_lie_as_their_entry_says(packing, transposed):
    step = Step("qkv.weight", ("q", "k", "v"), packing, transposed)
    q, k, v = (np.arange(12).reshape(4, 3) + offset for offset in (0, 100, 200))
    array = join(step, [q, k, v], num_heads=2)
    assert array.shape == ((3, 12) if transposed else (12, 3))
    rows = (array.T if transposed else array)[:, 0].tolist()
    by_heads = [0, 3, 100, 103, 200, 203, 6, 9, 106, 109, 206, 209]
    assert rows == (by_heads if packing == "heads" else [0, 3, 6, 9, 100, 103, 106, 109, 200, 203, 206, 209])
    assert all(np.array_equal(a, b) for a, b in zip(cut(step, array, 2), (q, k, v)))


def test_rows_that_do_not_divide_have_no_whole_shape():
    assert cut_shape(Step("qkv", ("q", "k", "v")), (10, 3)) == (10 / 3, 3)


def test_of_two_names_for_one_parameter_the_earlier_entry_counts_wherever_it_stands_in_the_file():
    weight_map = WeightMap("", (Rename("a", "new"), Rename("a", "old")), (Ignore("old", "written before"),))
    for file in (["old", "new"], ["new", "old"]):
        plan = weight_map.plan(file, ["a"])
        assert [step.theirs for step in plan.steps] == ["new"]
        assert plan.ignored == {"old": "written before"}


def test_a_name_that_depends_on_a_neighbour_is_chosen_by_it():
    weight_map = WeightMap("", (Rename("up", "wi_1", beside="gate"), Rename("up", "wi"), Rename("gate", "wi_0")))
    assert [step.theirs for step in weight_map.export(["gate", "up"])] == ["wi_0", "wi_1"]
    assert [step.theirs for step in weight_map.export(["up"])] == ["wi"]


def test_half_of_a_packed_tensor_cannot_be_written():
    with pytest.raises(KeyError, match="also holds k"):
        WeightMap("", (Pack(("q", "k"), "qk"),)).export(["q"])


def test_a_file_of_the_base_model_has_no_prefix():
    plan = WEIGHTS.plan(names("pooler", base=True), paths("question_answering"))
    assert plan.missing == ["head.span.bias", "head.span.weight"]
    assert not plan.unexpected
    assert set(plan.ignored) == {"pooler.dense.weight", "pooler.dense.bias"}


def test_a_layer_that_the_model_does_not_have_is_unexpected_and_not_ignored():
    extra = "bert.encoder.layer.3.output.dense.weight"
    assert WEIGHTS.plan([*names("question_answering"), extra], paths("question_answering")).unexpected == [extra]


def test_old_spellings_of_layer_norm_are_known():
    wanted = ["embed.norm.weight", "layers.1.norm_mlp.bias"]
    plan = WEIGHTS.plan(["bert.embeddings.LayerNorm.gamma", "bert.encoder.layer.1.output.LayerNorm.beta"], wanted)
    assert [step.paths[0] for step in plan.steps] == wanted


def test_heads_of_other_tasks_are_ignored_with_a_reason():
    given = ["cls.predictions.bias", "bert.embeddings.position_ids", "classifier.weight", "cls.seq_relationship.bias"]
    plan = WEIGHTS.plan(given, [])
    assert set(plan.ignored) == set(given)
    assert all(plan.ignored.values())


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_a_configuration_goes_to_hugging_face_and_back(case):
    family = FAMILIES[case.config["model_type"]]
    config = load_object(f"{family.package}.config:{family.config}").from_hf(case.config)
    assert type(config).from_hf(config.to_hf()) == config


@pytest.mark.parametrize("name", sorted({case.config["model_type"] for case in CASES.values() if not case.oracle}))
def test_keys_that_a_config_json_leaves_out_have_hugging_faces_defaults(name):
    family = FAMILIES[name]
    theirs = getattr(oracle(), family.config)()
    ours = load_object(f"{family.package}.config:{family.config}")()
    known = {key: getattr(ours, key) for key in (item.name for item in dataclasses.fields(ours))}
    same = {key: value for key, value in known.items() if key not in RUN_FIELDS and value is not None}
    differing = {key: value for key, value in same.items() if getattr(theirs, key, value) != value}
    assert differing == {}


def test_what_a_stack_cannot_carry_is_refused_with_everything_that_is_wrong():
    with pytest.raises(UsageError, match="position_embedding_type is 'relative_key'") as caught:
        BertConfig.from_hf({"position_embedding_type": "relative_key", "is_decoder": True, "hidden_act": "gelo"})
    assert "is_decoder is True" in str(caught.value)
    assert "Did you mean 'gelu'" in str(caught.value)
    with pytest.raises(UsageError, match=r"hidden_size is '24'; expected int\n  hidden_act is 1; expected str"):
        BertConfig.from_hf({"hidden_size": "24", "hidden_act": 1})
    with pytest.raises(UsageError, match="rope_scaling is 'yarn'; accepted: linear or dynamic"):
        LlamaConfig.from_hf({"rope_scaling": {"rope_type": "yarn", "factor": 2.0}})
    with pytest.raises(UsageError, match=r"factor is 0.5; it must be a number of at least 1"):
        LlamaConfig.from_hf({"rope_scaling": {"type": "linear", "factor": 0.5}})
    with pytest.raises(UsageError, match="num_kv_heads may be 1, 2, 4, 8, 16, 32"):
        LlamaConfig.from_hf({"num_key_value_heads": 5})


def test_names_of_labels_and_several_ends_of_text_survive():
    named = BertConfig.from_hf({"id2label": {"0": "bad", "1": "so so", "2": "good"}})
    assert (named.num_labels, named.to_hf()["label2id"]) == (3, {"bad": 0, "so so": 1, "good": 2})
    assert BertConfig.from_hf({"id2label": {"0": "LABEL_0"}}).id2label is None
    assert LlamaConfig.from_hf({"eos_token_id": [1, 2]}).to_hf()["eos_token_id"] == [1, 2]


def test_both_spellings_of_rotary_positions_are_read():
    old = LlamaConfig.from_hf({"rope_theta": 5e5, "rope_scaling": {"type": "linear", "factor": 4}})
    new = LlamaConfig.from_hf({"rope_parameters": {"rope_theta": 5e5, "rope_type": "linear", "factor": 4}})
    assert old.rotary() == new.rotary()
    assert LlamaConfig.from_hf({"rope_parameters": {"rope_theta": 1e4, "rope_type": "default"}}).rope_scaling is None


def test_both_forms_of_internlms_rotary_positions_are_read():
    later = InternLMConfig.from_hf({"rotary": {"base": 5e5, "type": "dynamic"}}).rotary()
    assert (later.theta, later.scaling, later.factor) == (5e5, "dynamic", 1.0)
    assert InternLMConfig.from_hf({"rotary": {"base": 1e4, "type": "origin"}}).rotary().scaling == "none"


def test_bert_base_has_the_published_number_of_parameters():
    # Hugging Face: sum(p.numel() for p in BertForQuestionAnswering(BertConfig()).parameters())
    assert count(parameter_table(BertConfig().arch("question_answering"))) == 108_893_186
