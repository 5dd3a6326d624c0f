"""A small twin of each kind of job compiles for its whole world, and lies and communicates as its plan says."""

import pytest

from mindformers.config.check import check_layers
from mindformers.config.source import read_text
from mindformers.parallel.compile_command import compile_plan
from mindformers.parallel.plan import make_plan
from mindformers.parallel.run_job import job_of

RUN = """
run_mode: train
use_parallel: true
trainer: {type: text_generation}
context: {device_target: Ascend}
runner_config: {batch_size: 2}
runner_wrapper:
  type: MFPipelineWithLossScaleCell
  use_clip_grad: true
  scale_sense: {type: DynamicLossScaleUpdateCell, loss_scale_value: 65536}
optimizer: {type: adamw}
lr_schedule: {type: cosine, learning_rate: 1.0e-4}
"""
GPT2 = """
model:
  arch: {type: GPT2LMHeadModel}
  model_config: {type: GPT2Config, vocab_size: 128, n_positions: 32, seq_length: 32, n_embd: 64, n_layer: 2, n_head: 4,
                 compute_dtype: float16}
"""
LLAMA = """
model:
  arch: {type: LlamaForCausalLM}
  model_config: {type: LlamaConfig, vocab_size: 128, seq_length: 32, hidden_size: 64, intermediate_size: 128,
                 num_hidden_layers: 2, num_attention_heads: 8, num_key_value_heads: 2, compute_dtype: float16}
"""
BLOOM = """
model:
  arch: {type: BloomForCausalLM}
  model_config: {type: BloomConfig, vocab_size: 128, seq_length: 32, hidden_size: 64, n_layer: 2, n_head: 4,
                 compute_dtype: float16}
"""
PIPELINE = """
parallel:
  parallel_mode: 1
  enable_parallel_optimizer: true
  parallel_optimizer_config: {parallel_optimizer_threshold: 8}
parallel_config: {data_parallel: 2, model_parallel: 2, pipeline_stage: 2, micro_batch_num: 2}
recompute_config: {recompute: true}
"""
GPIPE = PIPELINE.replace("mode: 1", "mode: 1\n  pipeline_config: {pipeline_scheduler: gpipe}").replace(
    "{parallel_optimizer_threshold", "{optimizer_level: level2, parallel_optimizer_threshold"
)
IN_TURN = PIPELINE.replace("micro_batch_num: 2", "micro_batch_num: 4, pp_interleave_num: 2").replace("true}", "[1, 0]}")
SPLIT_WEIGHTS = """
parallel:
  parallel_mode: 1
  enable_parallel_optimizer: true
  parallel_optimizer_config: {optimizer_level: level3, parallel_optimizer_threshold: 8}
parallel_config: {data_parallel: 4, model_parallel: 2, micro_batch_num: 2}
recompute_config: {recompute: [1]}
"""
FEW_HEADS = """
parallel: {parallel_mode: 1}
parallel_config: {data_parallel: 2, model_parallel: 4}
"""
SEQUENCE = """
parallel: {parallel_mode: 1}
parallel_config: {data_parallel: 2, model_parallel: 2, use_seq_parallel: true, micro_batch_num: 2}
"""
SPLIT_ALL = PIPELINE.replace("micro_batch_num", "use_seq_parallel: true, vocab_emb_dp: false, micro_batch_num")
JOBS = {
    "tied-gpipe-level2": (GPT2 + GPIPE, 0),
    "tied-pipeline-end": (GPT2 + PIPELINE, 4),
    "stages-in-turn": (GPT2.replace("n_layer: 2", "n_layer: 4") + IN_TURN, 0),
    "grouped-heads": (LLAMA + FEW_HEADS, 3),
    "gated-level3": (LLAMA + SPLIT_WEIGHTS, 0),
    "split-vocabulary-sequence-pipeline": (LLAMA + SPLIT_ALL, 4),
    "alibi-split-sequence": (BLOOM + SEQUENCE, 2),
}
"""Name -> run file and rank. GPT-2 drops parts of everything: masks are in the graphs of pipelines, too."""


def planned(text):
    checked = check_layers([read_text(RUN + text, "run.yaml")])
    return checked, make_plan(job_of(checked.run))


@pytest.mark.parametrize(("text", "rank"), JOBS.values(), ids=JOBS)
def test_a_rank_compiles_as_planned(text, rank):
    checked, plan = planned(text)
    (found,) = compile_plan(checked, plan, rank, stages=False)
    assert found.layouts == []
    assert [item for item in found.operations if item[2] != item[3]] == []
    assert found.parameters > 0
