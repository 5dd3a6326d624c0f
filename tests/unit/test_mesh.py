"""Ranks on the mesh, in the order of MindSpore's device matrix."""

import pytest

from mindformers.parallel.mesh import AXES, GROUPS, Mesh, Place

MESHES = [Mesh(), Mesh(4, 2, 4), Mesh(2, 3, 5), Mesh(1, 8, 1), Mesh(8, 1, 16), Mesh(3, 1, 1), Mesh(1, 1, 7)]


@pytest.mark.parametrize("mesh", MESHES, ids=str)
def test_ranks_and_places_belong_together_one_to_one(mesh):
    places = [mesh.place(rank) for rank in range(mesh.devices)]
    assert len(set(places)) == mesh.devices == mesh.data * mesh.tensor * mesh.stage
    assert [mesh.rank(place) for place in places] == list(range(mesh.devices))
    assert all(place.stage < mesh.stage and place.data < mesh.data and place.tensor < mesh.tensor for place in places)


@pytest.mark.parametrize("mesh", MESHES, ids=str)
@pytest.mark.parametrize("kind", GROUPS)
def test_the_groups_of_a_kind_part_the_ranks(mesh, kind):
    groups = mesh.groups(kind)
    assert sorted(rank for group in groups for rank in group) == list(range(mesh.devices))
    for group in groups:
        places = [mesh.place(rank) for rank in group]
        differ = {axis for axis in AXES if len({getattr(place, axis) for place in places}) > 1}
        assert differ == {axis for axis in GROUPS[kind] if getattr(mesh, axis) > 1}
        assert list(group) == sorted(group)


def test_the_stage_is_the_slowest_axis_and_the_tensor_the_fastest():
    mesh = Mesh(data=4, tensor=2, stage=4)
    assert mesh.place(777 % 32) == Place(stage=1, data=0, tensor=1)
    assert [mesh.place(rank).stage for rank in (0, 7, 8, 31)] == [0, 0, 1, 3]
    assert mesh.place(5) == Place(stage=0, data=2, tensor=1)


def test_groups_are_those_that_the_compiler_makes():
    # Read from graphs that MindSpore 2.10 compiled for rank 0 and rank 4 of data 2 x tensor 2 x stage 2.
    mesh = Mesh(data=2, tensor=2, stage=2)
    assert {(0, 1), (4, 5)} <= {*mesh.groups("tensor")}
    assert {(0, 2), (4, 6)} <= {*mesh.groups("data")}
    assert (0, 1, 2, 3) in mesh.groups("stage")
    assert (0, 4) in mesh.groups("pipeline")


def test_a_rank_outside_is_refused():
    with pytest.raises(IndexError, match="rank 32 of 32"):
        Mesh(4, 2, 4).place(32)
