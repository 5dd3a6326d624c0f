"""`run_mindformer.py` as a user starts it, in every mode, and what it says when something is wrong."""

import json
import shutil

import pytest

from tests.conftest import ROOT
from tests.integration.conftest import losses, run_script


def test_training_leaves_checkpoints_scalars_and_logs(trained):
    checkpoints = list((trained / "rank_0" / "checkpoint").iterdir())
    assert [item for item in checkpoints if (item / "manifest.json").is_file()]
    assert all((item / "vocab.txt").is_file() and (item / "config.yaml").is_file() for item in checkpoints)
    log = (trained / "log" / "rank_0" / "mindformers.log").read_text()
    assert "Epoch:[  1/  2], step:[    1/" in log
    assert "QA Metric = {'QA Metric': {'exact_match':" in log
    assert len(losses(trained)) > 4


def test_evaluation_takes_the_newest_checkpoint_and_scores_every_question(trained, tiny_flags):
    result = run_script(*tiny_flags, "--run_mode", "eval", "--output_dir", trained)
    assert "QA Metric = {'QA Metric': {'exact_match':" in result.stderr
    assert "scored 40 of 40" in result.stderr


def test_prediction_answers_with_places_in_the_text(trained, tiny_flags):
    result = run_script(
        *tiny_flags,
        "--run_mode",
        "predict",
        "--output_dir",
        trained,
        "--predict_data",
        "Jean-Luc lives in Aix-en-Provence - Where does Jean-Luc live?",
    )
    assert "output result is: [{'text': '" in result.stderr
    newest = sorted((trained / "runs").glob("*-predict"))[-1]
    answer = json.loads((newest / "results.txt").read_text().splitlines()[0])
    context = "Jean-Luc lives in Aix-en-Provence"
    assert context[answer["start"] : answer["end"]] == answer["text"]


def test_a_second_run_leaves_the_first_as_it_was(trained, tiny_flags):
    first = sorted((trained / "runs").glob("*-train"))[0]
    before = {path: path.stat().st_mtime_ns for path in first.rglob("*") if path.is_file()}
    run_script(*tiny_flags, "--run_mode", "train", "--output_dir", trained, "--epochs", "1", "--num_samples", "32")
    assert {path: path.stat().st_mtime_ns for path in first.rglob("*") if path.is_file()} == before
    assert len(list((trained / "runs").glob("*-train"))) == 2


def test_a_run_that_resumes_within_an_epoch_repeats_the_straight_run_bit_for_bit(tmp_path, tiny_flags):
    common = [*tiny_flags, "--run_mode", "train", "--epochs", "2", "--callbacks.0.per_print_times=1"]
    run_script(*common, "--output_dir", tmp_path / "straight", "--callbacks.2.save_checkpoint_steps=100")
    run_script(
        *common,
        "--output_dir",
        tmp_path / "stopped",
        "--callbacks.2.save_checkpoint_steps=3",
        "--callbacks.2.keep_checkpoint_max=0",
    )
    for checkpoint in (tmp_path / "stopped" / "rank_0" / "checkpoint").resolve().iterdir():
        if not checkpoint.name.endswith("-1_3"):
            shutil.rmtree(checkpoint)
    run_script(*common, "--output_dir", tmp_path / "stopped", "--resume")
    assert losses(tmp_path / "stopped") == losses(tmp_path / "straight")


WRONG = {
    "a missing dataset": (["--dataset_dir", "/nowhere"], "no such file or folder"),
    "an unknown task": (["--trainer.type=question_answer"], "Did you mean 'question_answering'"),
    "an unknown model": (["--model.arch.type=BertForQuestionAnswerin"], "Did you mean 'BertForQuestionAnswering'"),
    "finetune without weights": (["--run_mode", "finetune"], "starts from weights"),
    "weights that do not exist": (["--run_mode", "finetune", "--load_checkpoint", "/no/weights"], "no such path"),
    "fewer rows than the tokenizer has ids": (["--model.model_config.vocab_size=50"], "but the tokenizer has"),
    "an unknown key": (["--optimizer.weigt_decay=1"], "Did you mean 'weight_decay'"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_a_user_can_repair_is_one_message_and_exit_code_2(case, tiny_flags, tmp_path):
    flags, said = WRONG[case]
    result = run_script(*tiny_flags, "--run_mode", "train", "--output_dir", tmp_path / "out", *flags, check=False)
    assert result.returncode == 2, result.stderr[-3000:]
    assert said in result.stderr
    assert "Traceback" not in result.stderr


def test_an_output_folder_that_cannot_be_written_is_one_message(tiny_flags, tmp_path):
    (tmp_path / "file").write_text("mine")
    result = run_script(*tiny_flags, "--run_mode", "train", "--output_dir", tmp_path / "file", check=False)
    assert result.returncode == 2
    assert "cannot be written" in result.stderr
    assert (tmp_path / "file").read_text() == "mine"


def test_a_checkpoint_of_another_shape_lists_every_mismatch(trained, tiny_flags, tmp_path):
    checkpoint = next((trained / "rank_0" / "checkpoint").resolve().iterdir())
    result = run_script(
        *tiny_flags,
        "--run_mode",
        "eval",
        "--output_dir",
        tmp_path,
        "--load_checkpoint",
        checkpoint,
        "--model.model_config.intermediate_size=128",
        check=False,
    )
    assert result.returncode == 2
    assert "layers.0.mlp.up.weight" in result.stderr
    assert "layers.0.mlp.down.weight" in result.stderr


def test_a_corrupt_checkpoint_is_named(trained, tiny_flags, tmp_path):
    source = next((trained / "rank_0" / "checkpoint").resolve().iterdir())
    broken = tmp_path / "broken"
    shutil.copytree(source, broken)
    content = (broken / "model.safetensors").read_bytes()
    (broken / "model.safetensors").write_bytes(content[: len(content) // 2])
    result = run_script(
        *tiny_flags, "--run_mode", "eval", "--output_dir", tmp_path / "out", "--load_checkpoint", broken, check=False
    )
    assert result.returncode == 2
    assert "model.safetensors" in result.stderr
    assert "Traceback" not in result.stderr


def test_a_users_own_callback_is_loaded_and_called(tiny_flags, tmp_path):
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "callbacks.py").write_text(
        "from mindspore.train import Callback\n"
        "from mindformers import MindFormerRegister, MindFormerModuleType\n"
        "@MindFormerRegister.register(MindFormerModuleType.CALLBACK)\n"
        "class Shout(Callback):\n"
        "    def __init__(self, word: str = 'quiet'):\n"
        "        super().__init__()\n"
        "        self.word = word\n"
        "    def on_train_end(self, run_context):\n"
        "        print('SHOUT', self.word)\n"
    )
    config = tmp_path / "run.yaml"
    config.write_text(
        f"base_config: [{ROOT / 'configs' / 'qa' / 'run_qa_bert_tiny.yaml'}]\n"
        "callbacks:\n  - {type: MFLossMonitor}\n  - {type: Shout, word: hello}\n"
    )
    flags = [
        "--config",
        config,
        *tiny_flags[2:],
        "--register_path",
        folder,
        "--output_dir",
        tmp_path / "out",
        "--num_samples",
        "16",
        "--epochs",
        "1",
        "--run_mode",
        "train",
    ]
    assert "SHOUT hello" in run_script(*flags).stdout


def test_a_run_can_be_debugged_in_pynative_mode(tiny_flags, tmp_path):
    result = run_script(
        *tiny_flags,
        "--run_mode",
        "train",
        "--mode",
        "1",
        "--epochs",
        "1",
        "--num_samples",
        "28",
        "--output_dir",
        tmp_path,
    )
    assert "Traceback" not in result.stderr
    assert len(losses(tmp_path)) == 2


def test_a_profile_of_chosen_steps_is_written(tiny_flags, tmp_path):
    run_script(
        *tiny_flags,
        "--run_mode",
        "train",
        "--profile",
        "--options",
        "profile_start_step=2",
        "profile_stop_step=3",
        "--epochs",
        "1",
        "--num_samples",
        "64",
        "--output_dir",
        tmp_path,
    )
    assert list((tmp_path / "rank_0" / "profile").rglob("trace_view.json"))
    assert (tmp_path / "rank_0" / "profile" / "summary.txt").is_file()
