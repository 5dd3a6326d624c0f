"""Bytes, operations and waiting of a plan, against closed forms."""

import dataclasses

import pytest

from mindformers.arch.paths import count, parameter_table
from mindformers.parallel.activations import again_bytes, head_bytes, in_flight, layer_bytes, stage_layer_bytes
from mindformers.parallel.flops import flops
from mindformers.parallel.memory import RESERVE, usable
from mindformers.parallel.pipeline import pipeline
from mindformers.parallel.placement import TABLE
from mindformers.parallel.plan import make_plan
from mindformers.parallel.rules import dims_of
from tests.unit.parallel_jobs import ARCHS, DECODER, GROUPED, TWO_STACKS, job, released


@pytest.mark.parametrize("name", ["gpt2_13b", "llama_65b", "bloom_176b", "t5_base", "albert_base_v2"])
def test_one_device_needs_four_times_four_bytes_a_parameter(name):
    arch = released(name)
    (memory,) = make_plan(job(arch)).memory
    number = count(parameter_table(arch))
    assert (memory.weights, memory.gradients, memory.optimizer) == (4 * number, 4 * number, 8 * number)
    assert memory.copies == 0


def test_half_precision_beside_float32_weights_takes_eighteen_bytes_a_parameter():
    (memory,) = make_plan(job(compute_bytes=2)).memory
    number = count(parameter_table(DECODER))
    assert memory.weights + memory.copies + memory.gradients + memory.optimizer == 18 * number


def static(level, **choices):
    memory = make_plan(job(data=4, shard_level=level, shard_threshold=0, **choices)).memory[0]
    return memory.weights, memory.copies, memory.gradients, memory.optimizer


def test_each_level_of_split_takes_more_off():
    number = count(parameter_table(DECODER))
    assert static(0) == (4 * number, 0, 4 * number, 8 * number)
    assert static(1) == (number, 4 * number, 4 * number, 2 * number)
    assert static(2) == (number, 4 * number, number, 2 * number)
    weights, copies, gradients, moments = static(3)
    layer = sum(count({path: spec}) for path, spec in parameter_table(DECODER).items() if path.startswith("layers.0."))
    number += 3 * count({TABLE: parameter_table(DECODER)[TABLE]})  # it has two uses and stays whole
    assert (weights, gradients, moments, copies) == (number, number, 2 * number, 2 * 4 * layer)


def test_all_devices_together_hold_every_parameter_once_per_way_of_data():
    plan = make_plan(job(GROUPED, 2, 2, 4))
    table = parameter_table(GROUPED)
    repeated = {path: spec for path, spec in table.items() if not {"heads", "kv_heads", "mlp"} & {*dims_of(path)}}
    held = sum(memory.weights for memory in plan.memory) * plan.job.mesh.stage_devices
    assert held == 4 * plan.job.mesh.data * (count(table) + count(repeated))  # what no way splits is there twice


def test_a_table_on_two_stages_is_updated_on_the_first_only():
    first, last = make_plan(job(stage=2)).memory
    table = 4 * DECODER.vocab_size * DECODER.hidden_size
    positions = 4 * DECODER.max_positions * DECODER.hidden_size
    norm = 4 * 2 * DECODER.hidden_size
    assert first.weights - last.weights == table + positions - norm
    assert last.copies == table
    assert last.gradients - last.weights == table


def test_a_layer_keeps_what_its_cells_need_for_the_gradient():
    # Per token, D = 24, F = 48, 6 heads of 4, 16 keys, float32; exact GELU, no dropout:
    kept = 2 * (24 + 24) + 3 * 24 + 2 * 24 + 6 * 16 + (3 + 1) * 48
    assert layer_bytes(job(), "none") == 4 * 2 * 16 * kept
    assert layer_bytes(job(), "selective") == 4 * 2 * 16 * (kept - 6 * 16)
    assert layer_bytes(job(), "full") == 4 * 2 * 16 * 24
    with_dropout = dataclasses.replace(DECODER, hidden_dropout=0.1, attention_dropout=0.1, mlp_dropout=0.1)
    assert layer_bytes(job(with_dropout), "none") == 4 * 2 * 16 * (kept + 2 * 24 + 6 * 16 + 48)


def test_a_layer_of_llama_keeps_more_for_its_norms_and_its_gate():
    kept = 2 * (4 * 24 + 24) + 3 * 24 + 2 * 24 + 6 * 16 + (2 + 2 + 1) * 48
    assert layer_bytes(job(GROUPED), "none") == 4 * 2 * 16 * kept


def test_ways_within_a_layer_split_heads_and_feed_forward_and_with_sequences_everything():
    whole = layer_bytes(job(), "none")
    repeated = 4 * 2 * 16 * 2 * (24 + 24)
    assert layer_bytes(job(tensor=2), "none") == repeated + (whole - repeated) // 2
    assert layer_bytes(job(tensor=2, splits_sequence=True), "none") == whole // 2
    assert layer_bytes(job(tensor=2, slices_checkpoints=True), "full") == 4 * 16 * 24


def test_half_precision_halves_all_but_the_norms():
    norms = 4 * 2 * 16 * 2 * 24
    assert layer_bytes(job(compute_bytes=2), "none") - norms == (layer_bytes(job(), "none") - norms) // 2


def test_stages_recompute_as_many_layers_as_they_are_told():
    case = job(stage=2, recompute="full", recomputed_layers=(1, 2))
    whole, lean = layer_bytes(case, "none"), layer_bytes(case, "full")
    assert [stage_layer_bytes(case, stage) for stage in (0, 1)] == [whole + lean, 2 * lean]


def test_what_is_worked_out_again_is_the_largest_layer_or_the_scores_of_one_attention():
    full = job(TWO_STACKS, stage=2, recompute="full")
    assert again_bytes(full, 0) == layer_bytes(full, "none")
    assert again_bytes(full, 1) == layer_bytes(full, "none", cross=True)
    scores = 4 * 2 * 16 * 6 * 16
    assert [again_bytes(job(TWO_STACKS, stage=2, recompute="selective"), stage) for stage in (0, 1)] == [scores] * 2
    for mode in ("full", "selective"):
        assert again_bytes(job(stage=2, recompute=mode, recomputed_layers=(0, 2)), 0) == 0
    (lean,), (plain,) = (make_plan(job(recompute=mode)).memory for mode in ("selective", "none"))
    assert plain.activations - lean.activations == (4 - 1) * scores


def test_gpipe_keeps_the_log_probabilities_of_all_micro_batches():
    logits = 4 * 2 * 16 * 96
    assert head_bytes(job(stage=2, micro_batches=6)) == 3 * logits
    assert head_bytes(job(stage=2, micro_batches=6, chunks=2)) == 3 * logits
    assert head_bytes(job(stage=2, micro_batches=6, schedule="gpipe")) == (3 + 5) * logits
    assert head_bytes(job(stage=2, tensor=2, micro_batches=6, schedule="gpipe", splits_vocab=True)) == 4 * logits
    assert head_bytes(job(micro_batches=6, schedule="gpipe")) == 3 * logits


def test_recomputation_lets_go_only_of_weights_that_are_split_and_used_again():
    again = {"repeats_weight_gathers": True, "recompute": "full"}
    assert static(1, **again)[1] == static(3)[1]
    assert static(0, **again) == static(0)
    assert static(0, **again, compute_bytes=2) == static(0, compute_bytes=2)
    assert static(1, **again, recomputed_layers=(2,)) == static(1)
    assert static(1, repeats_weight_gathers=True) == static(1)
    assert static(1, repeats_weight_gathers=True, recompute="selective") == static(1)


def test_a_decoder_layer_of_two_stacks_keeps_a_second_attention():
    plain, cross = layer_bytes(job(TWO_STACKS), "none"), layer_bytes(job(TWO_STACKS), "none", cross=True)
    assert stage_layer_bytes(job(TWO_STACKS, stage=2), 1) == 4 * cross > 4 * plain


def test_micro_batches_under_way():
    assert [in_flight(job(stage=4), stage) for stage in range(4)] == [4, 3, 2, 1]
    assert in_flight(job(stage=4, micro_batches=4, schedule="gpipe"), 3) == 4
    assert in_flight(job(micro_batches=5), 0) == 1
    # Korthikanti et al. 2022, section 4.2.3: 1 + (p - 1) / (p v) times the layers of the whole model.
    assert in_flight(job(stage=2, chunks=2, micro_batches=8), 0) == 2 * (1 + 1 / (2 * 2))


def test_bubble_of_a_pipeline():
    assert pipeline(job(stage=4, micro_batches=24)).bubble == pytest.approx(3 / 27)
    assert pipeline(job(stage=2, chunks=2, micro_batches=4)).bubble == pytest.approx(1 / 9)
    assert pipeline(job()).idle == 0
    uneven = pipeline(job(stage=2, stage_layers=(1, 3), micro_batches=8))
    assert uneven.layers == (1, 3) and sum(uneven.work) == pytest.approx(1)
    assert uneven.idle > uneven.bubble and uneven.work[1] > 3 * uneven.work[0]


def test_operations_of_the_13_billion():
    # Narayanan et al. 2021, arXiv:2104.04473, section 5.1, with full recomputation: 96 B s l h^2 (1 + s/6h + V/16lh).
    layers, hidden, vocab, seq = 40, 5120, 50257, 1024
    case = job(released("gpt2_13b"), 4, 2, 4, seq_length=seq, micro_batches=24, recompute="full")
    batch = 2 * 4 * 24
    published = 96 * batch * seq * layers * hidden**2 * (1 + seq / (6 * hidden) + vocab / (16 * layers * hidden))
    assert flops(case).hardware == pytest.approx(published, rel=1e-9)
    per_token = flops(case).model / (batch * seq)
    assert per_token == pytest.approx(6 * 12_848_143_360, rel=0.05)


def test_recomputation_repeats_the_layers_it_holds_for():
    model = flops(job(stage=2)).model
    assert flops(job(stage=2)).hardware == model
    full = flops(job(stage=2, recompute="full")).hardware - model
    assert flops(job(stage=2, recompute="full", recomputed_layers=(1, 0))).hardware - model == full / 4
    tokens = 2 * 4 * 16
    assert flops(job(stage=2, recompute="selective")).hardware - model == 4 * tokens * 4 * 16 * 24


@pytest.mark.parametrize("arch", ARCHS.values(), ids=ARCHS)
def test_the_verdict_is_the_fullest_device(arch):
    plan = make_plan(job(arch, 2, 2, 2))
    most = max(memory.total for memory in plan.memory)
    assert plan.fits is None
    there = next(size for size in range(int(most / (1 - RESERVE)) - 2, 2 * most) if usable(size) >= most)
    assert make_plan(plan.job, there).fits and not make_plan(plan.job, there - 1).fits
    assert there == pytest.approx(most / 0.9, abs=2)
