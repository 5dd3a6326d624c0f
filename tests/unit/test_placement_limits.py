"""Jobs that cannot be placed: what is wrong, and what would be accepted."""

import pytest

from mindformers.errors import ConfigError
from mindformers.parallel.limits import divisors, problems
from mindformers.parallel.plan import make_plan
from tests.unit.parallel_jobs import ARCHS, GROUPED, job, released


@pytest.mark.parametrize("arch", ARCHS.values(), ids=ARCHS)
def test_a_job_that_can_be_placed_has_no_problem(arch):
    assert problems(job(arch, 2, 2, 2)) == []


def test_three_ways_do_not_divide_forty_heads():
    ((key, message),) = problems(job(released("gpt2_13b"), tensor=3))
    assert key == "parallel_config.model_parallel"
    assert "3 does not divide num_heads 40 and does not divide intermediate_size 20480" in message
    assert message.endswith("accepted: 1, 2, 4, 5, 8, 10, 20, 40")


def test_thirteen_layers_do_not_share_out_over_four_stages():
    arch = ARCHS["tied"].__class__(**{**vars(ARCHS["tied"]), "num_layers": 13})
    ((key, message),) = problems(job(arch, stage=4))
    assert key == "parallel_config.pipeline_stage"
    assert "13 layers do not share out over 4 stages; accepted: 1, 13; or give parallel_config.stage_layers" in message
    assert problems(job(arch, stage=4, stage_layers=(3, 3, 3, 4))) == []


@pytest.mark.parametrize("layers", [(2, 1, 1), (1, 2), (3, 2), (4, 0), (5, -1)])
def test_layers_given_by_hand_must_add_up(layers):
    ((key, message),) = problems(job(stage=2, stage_layers=layers))
    assert key == "parallel_config.stage_layers"
    assert "each of the 2 stages at least 1 of 4 layers" in message


def test_heads_of_key_and_value_are_shared_out_or_repeated():
    assert problems(job(GROUPED, tensor=2)) == []
    assert problems(job(GROUPED, tensor=6)) == []
    ((_, message),) = problems(job(GROUPED, tensor=3))
    assert "3 neither divides num_kv_heads 2 nor is a multiple of it; accepted: 1, 2, 6" in message


def test_a_vocabulary_is_split_into_equal_parts():
    arch = released("gpt2_13b")
    assert problems(job(arch, tensor=2)) == []
    ((_, message),) = problems(job(arch, tensor=2, splits_vocab=True))
    assert "2 does not divide vocab_size 50257; accepted: 1; or set vocab_emb_dp true, or pad the vocabulary" in message


@pytest.mark.parametrize(
    ("choices", "key", "said"),
    [
        ({"stage": 4, "micro_batches": 3}, "micro_batch_num", "3 cannot fill 4 stages"),
        ({"splits_sequence": True}, "use_seq_parallel", "model_parallel is 1"),
        ({"tensor": 2, "splits_sequence": True, "seq_length": 15}, "use_seq_parallel", "2 does not divide 15 tokens"),
        ({"chunks": 2}, "pp_interleave_num", "one stage only"),
        ({"stage": 2, "chunks": 4}, "pp_interleave_num", "accepted: 1, 2"),
        ({"stage": 2, "chunks": 2, "stage_layers": (1, 3)}, "pp_interleave_num", "give one of them"),
        ({"stage": 2, "chunks": 2, "schedule": "gpipe"}, "pp_interleave_num", "need the schedule 1f1b"),
        ({"stage": 2, "recompute": "full", "recomputed_layers": (1,)}, "recompute", "1 numbers for 2 stages"),
        ({"stage": 2, "recompute": "full", "recomputed_layers": (1, 3)}, "recompute", "3 for stage 1; accepted: 0 to"),
        ({"stage": 8, "recompute": "full", "recomputed_layers": (1,) * 8}, "pipeline_stage", "4 layers do not share"),
        ({"data": 4, "shard_level": 1, "shard_size": 3}, "optimizer_weight_shard_size", "accepted: -1 (all), 1, 2, 4"),
    ],
)
def test_each_broken_rule_says_what_is_accepted(choices, key, said):
    ((path, message),) = problems(job(**choices))
    assert path.endswith(key) and said in message


def test_all_problems_come_together():
    with pytest.raises(ConfigError) as caught:
        make_plan(job(tensor=5, stage=3, micro_batches=1))
    assert {problem.path.split(".")[1] for problem in caught.value.problems} == {
        "model_parallel",
        "pipeline_stage",
        "micro_batch_num",
    }


def test_divisors():
    assert divisors(36) == [1, 2, 3, 4, 6, 9, 12, 18, 36]
    assert divisors(1) == [1]
