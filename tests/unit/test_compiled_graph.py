"""Communication is counted in the text of a compiled graph as often as it happens in a step."""

from collections import Counter

from mindformers.parallel.compiled_graph import operations

GRAPH = """\
subgraph attr:
subgraph @layers_5(%para1_x) {
  %0(a) = AllReduce(%para1_x) primitive_attrs: {group: "2-1", group_rank_ids: (0, 1), op: "sum"}
      : (<Tensor[Float16], (1, 32, 64)>) -> (<Tensor[Float16], (1, 32, 64)>)
  %1(b) = Partial(@backward_6, %0)
      : (<Func, NoShape>, <Tensor[Float16], (1, 32, 64)>) -> (<Func, NoShape>)
  Return(%1)
}
subgraph @backward_6(%para2_x) {
  %0(c) = PrimFunc_ReduceScatter(%para2_x) primitive_attrs: {group_rank_ids: (0, 1)}
      : (<Ref[Tensor[Float32]], (8), ref_key=norm_out.bias>) -> (<Tensor[Float32], (4)>)
}
subgraph @step_7() {
  %0(d) = call @layers_5(%para3_x)
      : (<Tensor[Float16], (1, 32, 64)>) -> (<Func, NoShape>)
  %1(e) = %0[@Partial(@backward_6)](%0)
      : (<Tensor[Float16], (1, 32, 64)>) -> (<Tensor[Float32], (4)>)
  %2(f) = call @layers_5(%para3_x)
      : (<Tensor[Float16], (1, 32, 64)>) -> (<Func, NoShape>)
  %3(g) = AllReduce(%2) primitive_attrs: {group: "nccl_world_group", group_rank_ids: (0, 1, 2, 3)}
      : (<Tensor[Float32], ()>) -> (<Tensor[Float32], ()>)
  %4(h) = Receive(%3) primitive_attrs: {shape: [1, 32, 64], group_rank_ids: (0, 4)}
      : (<Tensor[Float16], (1), value=...>) -> (<Tensor[Float16], (1, 32, 64)>)
}
"""


def test_a_graph_counts_as_often_as_it_is_called_and_single_numbers_do_not():
    assert operations(GRAPH.splitlines()) == Counter(
        {("all-reduce", (0, 1)): 2, ("reduce-scatter", (0, 1)): 2, ("receive", (0, 4)): 1}
    )
