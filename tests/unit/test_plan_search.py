"""The search finds what fits, prefers what is fast, and says why."""

import dataclasses

import pytest
import yaml

from mindformers.config.check import check_layers
from mindformers.config.source import read_text
from mindformers.errors import UsageError
from mindformers.parallel import cost
from mindformers.parallel.communication import Traffic
from mindformers.parallel.context import refuse_planned_only
from mindformers.parallel.cost import StepTime, bandwidth, seconds, step_time
from mindformers.parallel.hardware import HARDWARE, LATENCY
from mindformers.parallel.mesh import Mesh
from mindformers.parallel.placement import alike, place
from mindformers.parallel.plan import make_plan
from mindformers.parallel.report import settings
from mindformers.parallel.search import Candidate, alternatives, meshes, search
from tests.unit.parallel_jobs import DECODER, GROUPED, SHARED, TWO_STACKS, job, released

GIB = 2**30
HALF = {"param_bytes": 2, "compute_bytes": 2, "seq_length": 1024, "micro_batches": 1}
LARGE = job(released("gpt2_13b"), batch=192, **HALF)

NO_TIME = StepTime(0, 0, 0, 0)


@pytest.fixture(scope="module")
def found():
    return search(LARGE, 32, 31 * GIB, HARDWARE["910A"])


def test_the_best_plan_of_the_13_billion_is_the_guides_mesh(found):
    best = found.candidates[0].job
    assert best.mesh == Mesh(data=4, tensor=2, stage=4)


def test_every_plan_that_is_found_can_be_made_fits_and_keeps_the_work(found):
    for candidate in alternatives(found):
        plan = make_plan(candidate.job, 31 * GIB)
        assert plan.fits and plan.memory[plan.fullest].total == candidate.bytes
        assert candidate.job.global_batch == 192 and candidate.job.mesh.devices == 32


def test_a_plan_that_fills_more_than_nine_tenths_is_left_out(found):
    assert 0.8 * 31 * GIB < max(candidate.bytes for candidate in found.candidates) <= 0.9 * 31 * GIB


def test_plans_are_in_order_and_alternatives_have_meshes_of_their_own(found):
    times = [candidate.time.total for candidate in found.candidates]
    assert times == sorted(times)
    shown = alternatives(found)
    assert shown[0] == found.candidates[0] and len({item.job.mesh for item in shown}) == len(shown) == 5


def test_less_memory_needs_more_saving():
    small, roomy = (search(LARGE, 8, int(memory * GIB), HARDWARE["910A"]) for memory in (31, 200))
    assert small.candidates[0].time.total > roomy.candidates[0].time.total
    assert "recomputation: nothing with less of it fits" in small.reasons
    assert not any("recomputation" in reason for reason in roomy.reasons)


def test_one_device_is_enough_for_a_small_model():
    best = search(job(batch=8, micro_batches=1), 1, GIB, HARDWARE["CPU"]).candidates[0].job
    assert (best.mesh, best.batch, best.recompute, best.shard_level) == (Mesh(), 8, "none", 0)


def test_meshes_divide_devices_heads_layers_and_samples():
    tried = set(meshes(job(batch=12, micro_batches=1), 12))
    assert Mesh(12, 1, 1) in tried and Mesh(1, 6, 2) in tried
    assert all(mesh.devices == 12 and 6 % mesh.tensor == 0 and 4 % mesh.stage == 0 for mesh in tried)
    assert not [mesh for mesh in meshes(job(batch=1, micro_batches=1), 12) if mesh.data > 1 or mesh.stage > 1]


def test_nothing_that_fits_is_an_error_with_the_leanest_plan():
    said = r"nothing fits 2 devices of 1.0 GiB with 10% of it left over; the leanest plan .* needs \d+\.\d GiB"
    with pytest.raises(UsageError, match=said):
        search(LARGE, 2, GIB, HARDWARE["910A"])


def test_no_mesh_is_an_error_that_says_what_must_divide():
    with pytest.raises(UsageError, match=r"no mesh of 7 devices carries this model with 4 samples a step"):
        search(job(), 7, GIB, HARDWARE["CPU"])


@pytest.mark.parametrize(
    ("kind", "factor"),
    [("all-reduce", 2 * 3 / 4), ("all-gather", 3), ("reduce-scatter", 3 / 4), ("send", 1), ("receive", 0)],
)
def test_a_ring_takes_its_share_of_the_bytes(kind, factor):
    hardware = HARDWARE["910A"]
    case = job(data=4)
    took = seconds(Traffic(kind, "data", "gradients", 4, 1, 9 * 10**9), case, hardware)
    assert took == pytest.approx(factor * 0.1 + (LATENCY if factor else 0))


def test_groups_beyond_a_node_use_the_network():
    hardware = HARDWARE["910A"]
    assert bandwidth("tensor", job(data=8, tensor=2), hardware) == hardware.node_bandwidth
    assert bandwidth("data", job(data=8, tensor=2), hardware) == hardware.net_bandwidth
    assert bandwidth("pipeline", job(data=2, stage=4), hardware) == hardware.node_bandwidth


def test_half_the_devices_take_twice_the_products():
    def compute(case):
        return step_time(case, alike(place(case)), HARDWARE["910B"]).compute

    one, two = job(batch=4), job(data=2, batch=2)
    assert one.global_batch == two.global_batch
    assert compute(one) == pytest.approx(2 * compute(two))
    assert compute(dataclasses.replace(one, compute_bytes=2)) < compute(one)


def test_a_pipeline_waits_for_its_bubble():
    case = job(DECODER, stage=4, micro_batches=8)
    time = step_time(case, alike(place(case)), HARDWARE["CPU"])
    assert time.waiting == pytest.approx((time.compute + time.layers) * 3 / 8)
    assert time.total == time.compute + time.waiting + time.layers + time.gradients


@pytest.mark.parametrize(
    "case",
    [
        job(DECODER, stage=4, micro_batches=8),
        job(DECODER, stage=4, micro_batches=8, recompute="full", recomputed_layers=(0, 0, 1, 0)),
        job(SHARED, data=2, stage=4, micro_batches=8),
        job(TWO_STACKS, data=2, tensor=2, stage=4, micro_batches=8, shard_level=2, shard_threshold=0),
    ],
    ids=["decoder", "recomputation", "shared", "two-stacks"],
)
def test_the_slowest_of_all_stages_sets_the_pace(case, monkeypatch):
    time = step_time(case, alike(place(case)), HARDWARE["CPU"])
    monkeypatch.setattr(cost, "_distinct", lambda job, kinds, work: range(len(work)))
    assert step_time(case, alike(place(case)), HARDWARE["CPU"]) == time


def test_a_stage_between_sends_both_ways():
    case, hardware = job(GROUPED, stage=3, stage_layers=(1, 2, 1), micro_batches=8), HARDWARE["CPU"]
    time = step_time(case, alike(place(case)), hardware)
    ends, between = (sum(seconds(item, case, hardware) for item in make_plan(case).communication[at]) for at in (0, 1))
    assert time.layers == pytest.approx(between) and between == pytest.approx(2 * ends)


@pytest.mark.parametrize(("level", "key"), [(0, "level1"), (1, "level1"), (3, "level3")])
def test_the_level_of_split_is_written_down(level, key):
    case = job(data=2, shard_level=level)
    section = written(case)["parallel"]
    assert section["parallel_optimizer_config"]["optimizer_level"] == key
    assert section["enable_parallel_optimizer"] is (level > 0)


@pytest.mark.parametrize(
    ("case", "mode"),
    [
        (job(data=4, micro_batches=6), 0),
        (job(micro_batches=6), 0),
        (job(data=4, shard_level=1), 1),
        (job(data=4, recompute="selective"), 1),
        (job(tensor=2), 1),
        (job(stage=2), 1),
    ],
    ids=["data", "one device", "split optimizer", "recomputation", "split layer", "pipeline"],
)
def test_what_is_written_down_for_data_parallelism_alone_is_what_runs_carry_out(case, mode):
    run = check_layers([read_text(yaml.safe_dump(written(case)), "plan.yaml")]).run
    assert (run.parallel.parallel_mode, run.parallel.full_batch) == (mode, mode == 1)
    assert run.use_parallel is (case.mesh.devices > 1)
    portions = (run.parallel_config.micro_batch_num, run.runner_config.gradient_accumulation_steps)
    assert portions == ((case.micro_batches, 1) if case.mesh.stage > 1 else (1, case.micro_batches))
    if mode == 0:
        refuse_planned_only(run)
    else:
        with pytest.raises(UsageError, match="parallel.parallel_mode is 1, runs take 0"):
            refuse_planned_only(run)


def written(case):
    """The tree of the run file that a plan of `case` asks for."""
    return yaml.safe_load("\n".join(settings(Candidate(case, NO_TIME, 0))))
