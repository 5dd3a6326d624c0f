"""Operations of communication are those that MindSpore 2.10 was seen to compile.

The numbers stand in graphs of a GPT of 4 layers, width 256, 8 heads, 512 tokens of vocabulary, 64 positions, float16,
one sample of 64 tokens: compiled for one rank of a world of 4 or 8 devices on a machine without accelerators.
"""

import dataclasses

import pytest

from mindformers.arch.stacks import DecoderArch
from mindformers.parallel.plan import make_plan
from tests.unit.parallel_jobs import GROUPED, TWO_STACKS, job

GPT = DecoderArch(512, 256, 4, 8, 1024, 64, pre_norm=True, head="causal_lm")
HIDDEN = 64 * 256 * 2
LAYER_PARTS = 393_216 + 1024
"""Elements of one of two parts of a layer's matrices; of their biases."""


def traffic(at=0, **choices):
    seen = {"seq_length": 64, "batch": 1, "micro_batches": 1, "param_bytes": 2, "compute_bytes": 2}
    plan = make_plan(job(GPT, **{**seen, "shard_threshold": 8 * 1024, **choices}))
    return {(item.kind, item.group, item.purpose): (item.count, item.bytes) for item in plan.communication[at]}


def test_two_ways_of_data_and_two_within_a_layer():
    found = traffic(data=2, tensor=2)
    assert found[("all-reduce", "tensor", "activations")] == (16, 16 * HIDDEN)
    assert found[("all-reduce", "data", "gradients")][0] == 40  # and the loss
    assert found[("all-reduce", "stage", "gradients")][0] == 28 + 1  # the table has two uses
    assert len(found) == 3


def test_the_optimizer_split_turns_sums_into_gathers_and_scatters():
    found = traffic(data=2, tensor=2, shard_level=1)
    assert found[("all-gather", "data", "weights")] == (24, 4 * 393_216)
    assert found[("reduce-scatter", "data", "gradients")] == (24, 4 * 2 * 393_216)
    assert found[("all-reduce", "data", "gradients")][0] == 16  # small biases
    assert found[("all-gather", "stage", "weights")][0] == 2
    assert found[("reduce-scatter", "stage", "gradients")][0] == 2
    assert found[("all-reduce", "stage", "gradients")][0] == 26


def test_split_sequences_turn_sums_of_activations_into_gathers_and_scatters():
    found = traffic(data=2, tensor=2, splits_sequence=True)
    assert found[("all-gather", "tensor", "activations")] == (17, 17 * HIDDEN // 2)
    assert found[("reduce-scatter", "tensor", "activations")] == (17, 17 * HIDDEN)
    assert ("all-reduce", "tensor", "activations") not in found


def test_the_first_stage_of_a_recomputed_pipeline():
    found = traffic(data=2, tensor=2, stage=2, micro_batches=4, shard_level=1, recompute="full")
    assert found[("all-reduce", "tensor", "activations")] == (4 * 10, 4 * 10 * HIDDEN)
    assert found[("all-gather", "data", "weights")][0] == 12
    assert found[("all-gather", "stage", "weights")][0] == 1
    assert found[("all-reduce", "stage", "gradients")][0] == 13
    assert found[("all-reduce", "data", "gradients")][0] == 8
    assert found[("send", "pipeline", "activations")] == (4, 4 * HIDDEN)
    assert found[("send", "pipeline", "weights")] == (1, 512 * 256 * 2)
    assert found[("receive", "pipeline", "gradients")] == (5, 4 * HIDDEN + 512 * 256 * 2)


def test_the_last_stage_of_a_pipeline():
    found = traffic(at=1, data=2, tensor=2, stage=2, micro_batches=4)
    assert found[("all-reduce", "tensor", "activations")] == (4 * 8, 4 * 8 * HIDDEN)
    assert found[("all-reduce", "data", "gradients")][0] == 20
    assert found[("all-reduce", "stage", "gradients")][0] == 14
    assert found[("receive", "pipeline", "weights")] == (1, 512 * 256 * 2)
    assert found[("send", "pipeline", "gradients")] == (5, 4 * HIDDEN + 512 * 256 * 2)


def test_recomputation_can_leave_the_sums_out():
    again = {"tensor": 2, "recompute": "full"}
    assert traffic(**again)[("all-reduce", "tensor", "activations")][0] == 5 * 4
    assert traffic(**again, repeats_layer_sums=False)[("all-reduce", "tensor", "activations")][0] == 4 * 4


def test_one_device_communicates_nothing():
    assert traffic() == {}


def test_weights_that_are_let_go_are_gathered_for_each_pass_of_each_micro_batch():
    once = traffic(data=2, shard_level=1, micro_batches=3)
    assert once[("all-gather", "data", "weights")][0] == 26
    assert once[("reduce-scatter", "data", "gradients")][0] == 26
    often = traffic(data=2, shard_level=3, micro_batches=3)
    # The table with two uses stays whole then, and no gradient needs the one of positions.
    assert often[("all-gather", "data", "weights")][0] == 6 * 24 + 3
    assert often[("reduce-scatter", "data", "gradients")][0] == 3 * 25
    added = traffic(data=2, shard_level=2, micro_batches=3)
    assert added[("reduce-scatter", "data", "gradients")][0] == 3 * 27
    again = {"data": 2, "micro_batches": 3, "repeats_weight_gathers": True}
    gathers = ("all-gather", "data", "weights")
    assert traffic(**again, shard_level=1, recompute="full")[gathers][0] == 6 * 25 + 3
    assert traffic(**again, shard_level=1)[gathers][0] == 26
    assert traffic(**again, shard_level=1, recompute="selective")[gathers][0] == 26
    assert traffic(**again, shard_level=1, recompute="full", recomputed_layers=(3,))[gathers][0] == 26
    assert gathers not in traffic(**again, recompute="full")


def test_a_smaller_share_of_the_optimizer_leaves_sums_between_the_shares():
    (plan,) = make_plan(job(GPT, data=8, shard_level=1, shard_size=2, shard_threshold=8 * 1024)).communication
    found = {(item.kind, item.size): item.count for item in plan}
    split, whole = 26, 27  # the table has two uses, its share one
    assert found == {
        ("all-gather", 2): split,
        ("reduce-scatter", 2): split,
        ("all-reduce", 4): split,
        ("all-reduce", 8): traffic(data=8)[("all-reduce", "data", "gradients")][0] - whole,
    }


@pytest.mark.parametrize("arch", [GROUPED, TWO_STACKS])
@pytest.mark.parametrize("chunks", [1, 2])
def test_what_is_sent_is_received(arch, chunks):
    plan = make_plan(job(arch, stage=2, chunks=chunks, micro_batches=4))
    totals = {"send": 0, "receive": 0}
    for stage in plan.communication:
        for item in stage:
            totals[item.kind] += item.bytes
    assert totals["send"] == totals["receive"] > 0


def test_chunks_multiply_what_goes_from_stage_to_stage():
    arch = dataclasses.replace(GPT, tied_head=False)
    sent = [
        sum(item.count for stage in make_plan(job(arch, stage=2, chunks=chunks)).communication for item in stage)
        for chunks in (1, 2)
    ]
    assert sent[1] == 3 * sent[0]


def test_a_split_vocabulary_adds_sums_at_both_ends():
    whole, split = traffic(tensor=2), traffic(tensor=2, splits_vocab=True)
    key = ("all-reduce", "tensor", "activations")
    assert split[key] == (whole[key][0] + 7, whole[key][1] + 2 * 64 * 256 * 4 + 5 * 64 * 4)
