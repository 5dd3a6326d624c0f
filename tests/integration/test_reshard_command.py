"""`mindformers reshard` as a user starts it, and what it takes in memory."""

import os
import subprocess
import sys

import numpy as np
import pytest

from tests.conftest import ROOT
from tests.unit.test_convert import config_of, hf_shapes, random_tensors, read, write

ARGUMENTS = {"n_layer": 4, "n_embd": 768, "n_head": 12, "vocab_size": 3072}
MEASURE = """
import sys
from mindformers import cli
from mindformers.train.reshard import reshard
def peak():
    return int(next(line for line in open("/proc/self/status") if line.startswith("VmHWM")).split()[1]) * 1024
before = peak()
status = cli.main(["convert", "hf", "split", "--from=hf", "--to=native", "--tensor-model-parallel-size=2"])
for source, target, to in (("split", "other", "1,1,4"), ("other", "whole", "1,1,1")):
    status = status or cli.main(["reshard", source, target, "--to", to])
print(peak() - before)
sys.exit(status or "mindspore" in sys.modules)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="needs Linux: /proc tells the largest resident set of one program")
def test_memory_holds_a_few_tensors_whatever_the_size_of_the_model(tmp_path):
    config = config_of("gpt2", **ARGUMENTS)
    tensors = random_tensors(hf_shapes(config, "ForCausalLM"))
    write(tmp_path / "hf", config, tensors, architectures=["GPT2LMHeadModel"])
    sizes = [4 * int(np.prod(shape)) for _, shape, _ in tensors.values()]
    allowed = 2 * max(sizes) + 25e6
    assert sum(sizes) > 2 * allowed  # a reader that held the whole would be seen
    result = subprocess.run(
        [sys.executable, "-c", MEASURE],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        timeout=300,
    )
    assert result.returncode == 0, result.stderr
    assert "for 4 devices (data 1, tensor 1, stages 4)" in result.stdout
    assert int(result.stdout.split()[-1]) < allowed, result.stdout
    ours = {name: content for name, (_, _, content) in read(tmp_path / "whole").items()}
    assert ours["embed.tokens.weight"] == tensors["transformer.wte.weight"][2]
