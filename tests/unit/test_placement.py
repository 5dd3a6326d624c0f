"""Slices of parameters: they make up the whole, and lie where MindSpore puts them."""

import math

import pytest

from mindformers.arch.paths import count, parameter_table
from mindformers.parallel.placement import alike, place
from tests.unit.parallel_jobs import ARCHS, GROUPED, SHARED, TWO_STACKS, job, released

MESHES = [(1, 1, 1), (3, 1, 1), (1, 2, 1), (2, 2, 2), (2, 3, 4), (4, 6, 1)]


def jobs():
    for name, arch in ARCHS.items():
        for mesh in MESHES:
            for level in (0, 1):
                for vocab in (False, True):
                    yield pytest.param(
                        job(arch, *mesh, shard_level=level, shard_threshold=0, splits_vocab=vocab),
                        id=f"{name}-{'x'.join(map(str, mesh))}-{level}-{vocab}",
                    )


@pytest.mark.parametrize("case", list(jobs()))
def test_equal_parts_make_up_the_whole_and_no_more_devices_share_a_part_than_hold_it(case):
    for placed in place(case):
        ways = [getattr(case.mesh, axis) if axis else 1 for axis in placed.axes]
        assert tuple(size * way for size, way in zip(placed.slice_shape, ways)) == placed.shape
        assert (placed.stored_shape[0] * placed.shards, *placed.stored_shape[1:]) == placed.slice_shape
        assert case.mesh.stage_devices % (math.prod(ways) * placed.shards) == 0


@pytest.mark.parametrize("case", list(jobs()))
def test_each_kind_of_placement_is_counted(case):
    placed = place(case)
    assert sum(number for _, number in alike(placed)) == len(placed)
    assert sum(number * item.slice_size for item, number in alike(placed)) == sum(item.slice_size for item in placed)


def test_one_device_holds_everything():
    for arch in ARCHS.values():
        assert sum(item.stored_size for item in place(job(arch))) == count(parameter_table(arch))


def by_path(case):
    return {item.path: item for item in place(case)}


def test_columns_and_rows_are_split_as_in_a_graph_of_the_compiler():
    # MindSpore 2.10 on data 2 x tensor 2 says ([2, 2], [0, -1], [128, 256]) for a query of [256, 256], and halves that.
    found = by_path(job(data=2, tensor=2, shard_level=1, shard_threshold=0))
    assert found["layers.0.attention.q.weight"].slice_shape == (12, 24)
    assert found["layers.0.attention.q.weight"].stored_shape == (6, 24)
    assert found["layers.0.mlp.down.weight"].slice_shape == (24, 24)
    assert found["layers.0.mlp.up.bias"].slice_shape == (24,)
    assert found["layers.0.attention.o.bias"].slice_shape == (24,)
    assert found["layers.0.attention.o.bias"].shards == 4


def test_the_table_that_the_head_reads_belongs_to_the_first_stage_and_is_sent_to_the_last():
    assert by_path(job(stage=4))["embed.tokens.weight"].stages == (0, 3)
    assert by_path(job(GROUPED, stage=4))["embed.tokens.weight"].stages == (0,)
    assert by_path(job(GROUPED, stage=4))["head.weight"].stages == (3,)
    assert by_path(job(TWO_STACKS, stage=4))["embed.tokens.weight"].stages == (0, 2, 3)


def test_layers_go_round_the_stages_in_chunks():
    stages = [by_path(job(stage=2, chunks=2))[f"layers.{layer}.mlp.up.weight"].stages for layer in range(4)]
    assert stages == [(0,), (1,), (0,), (1,)]
    stages = [by_path(job(stage=2, stage_layers=(3, 1)))[f"layers.{layer}.mlp.up.weight"].stages for layer in range(4)]
    assert stages == [(0,), (0,), (0,), (1,)]


def test_shared_layers_lie_on_every_stage_that_runs_them():
    found = by_path(job(SHARED, stage=4))
    assert found["layers.0.mlp.up.weight"].stages == (0, 1)
    assert found["layers.1.mlp.up.weight"].stages == (2, 3)


def test_tables_of_relative_positions_lie_with_their_stack():
    found = by_path(job(TWO_STACKS, stage=4))
    assert found["encoder.relative.weight"].stages == (0, 1)
    assert found["decoder.relative.weight"].stages == (2, 3)
    assert found["encoder.norm_out.weight"].stages == (1,)
    assert found["decoder.norm_out.weight"].stages == (3,)


def test_the_optimizer_leaves_whole_what_is_small_indivisible_or_on_several_stages():
    found = by_path(job(data=5, shard_level=1, shard_threshold=0))
    assert found["layers.0.mlp.up.weight"].shards == 1  # 48 rows
    found = by_path(job(data=4, shard_level=1, shard_threshold=24 * 48 * 4))
    assert (found["layers.0.mlp.up.weight"].shards, found["layers.0.attention.q.weight"].shards) == (4, 1)
    assert by_path(job(data=2, stage=2, shard_level=1, shard_threshold=0))["embed.tokens.weight"].shards == 1
    assert by_path(job(data=4, shard_level=1, shard_size=2, shard_threshold=0))["layers.0.mlp.up.weight"].shards == 2


def test_the_13_billion_have_the_layout_of_their_job():
    case = job(released("gpt2_13b"), 4, 2, 4, shard_level=1, param_bytes=2)
    found = by_path(case)
    assert found["layers.0.attention.q.weight"].stored_shape == (640, 5120)
    assert found["embed.tokens.weight"].stored_shape == (50257, 5120)
    assert [found[f"layers.{layer}.mlp.up.weight"].stages for layer in (0, 9, 10, 39)] == [(0,), (0,), (1,), (3,)]
