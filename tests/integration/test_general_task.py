"""A user's own model, dataset, metric and optimizer, registered in a folder and named in YAML."""

import json

from tests.integration.conftest import run_script

CODE = """
import numpy as np
from mindspore import nn, ops
from mindspore.train import Metric
from mindformers import MindFormerModuleType, MindFormerRegister


@MindFormerRegister.register(MindFormerModuleType.MODELS)
class Line(nn.Cell):
    def __init__(self, width: int = 1):
        super().__init__()
        self.dense = nn.Dense(width, 1)

    def construct(self, x, y=None):
        guess = self.dense(x)
        if y is None:
            return guess
        return ((guess - y) ** 2).mean()


@MindFormerRegister.register(MindFormerModuleType.DATASET_LOADER)
class Points:
    def __init__(self, count: int = 64, scored: bool = False):
        x = np.linspace(-1, 1, count, dtype=np.float32)[:, None]
        self.columns = {"x": x} if scored else {"x": x, "y": 3 * x + 1}


@MindFormerRegister.register(MindFormerModuleType.METRIC)
class MeanError(Metric):
    def __init__(self):
        super().__init__()
        self.clear()

    def bind(self, columns):
        self.x = columns["x"]

    def clear(self):
        self.errors = []

    def update(self, rows, guess):
        rows, guess = rows.asnumpy(), guess.asnumpy()
        real = rows >= 0
        self.errors.extend(np.abs(guess[real] - (3 * self.x[rows[real]] + 1)).ravel().tolist())

    def eval(self):
        return {"mean_error": float(np.mean(self.errors)), "scored": len(self.errors), "total": len(self.x)}


@MindFormerRegister.register(MindFormerModuleType.OPTIMIZER)
class PlainDescent(nn.SGD):
    def __init__(self, params, learning_rate, speed: float = 1.0):
        super().__init__(params, learning_rate=float(learning_rate[0]) * speed)
"""

CONFIG = """
run_mode: train
do_eval: true
trainer: {type: general, model_name: line}
model: {arch: {type: Line, width: 1}}
train_dataset: {data_loader: {type: Points, count: 60}, batch_size: 8, drop_remainder: false}
eval_dataset: {data_loader: {type: Points, count: 13, scored: true}, batch_size: 4}
runner_config: {epochs: 20}
metric: {type: MeanError}
optimizer: {type: PlainDescent, speed: 2.0}
lr_schedule: {type: constant_with_warmup, learning_rate: 0.1}
callbacks:
  - {type: MFLossMonitor, per_print_times: 20}
  - {type: CheckpointMonitor, prefix: line}
"""


def test_a_users_own_parts_train_evaluate_and_predict(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "line.py").write_text(CODE)
    config = tmp_path / "run_line.yaml"
    config.write_text(CONFIG)
    flags = ["--config", config, "--register_path", tmp_path / "mine", "--output_dir", tmp_path / "out"]
    trained = run_script(*flags)
    assert "Metric = {'Metric': {'mean_error':" in trained.stderr
    run_script(*flags, "--run_mode", "eval")
    scores = json.loads(next((tmp_path / "out" / "runs").glob("*-eval/eval_results.json")).read_text())
    assert scores["mean_error"] < 0.01
    assert (scores["scored"], scores["total"]) == (13, 13)
    (tmp_path / "rows.json").write_text('[{"x": [2.0]}, {"x": [-1.0]}]')
    run_script(*flags, "--run_mode", "predict", "--predict_data", tmp_path / "rows.json")
    lines = next((tmp_path / "out" / "runs").glob("*-predict/results.txt")).read_text().splitlines()
    assert abs(json.loads(lines[0])[0][0] - 7.0) < 0.05
    assert abs(json.loads(lines[1])[0][0] + 2.0) < 0.05


def test_an_unknown_key_of_a_users_own_part_is_an_error(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "line.py").write_text(CODE)
    config = tmp_path / "run_line.yaml"
    config.write_text(CONFIG.replace("speed: 2.0", "sped: 2.0"))
    result = run_script(
        "--config", config, "--register_path", tmp_path / "mine", "--output_dir", tmp_path / "out", check=False
    )
    assert result.returncode == 2
    assert "optimizer.sped: unknown key. Did you mean 'speed'" in result.stderr
