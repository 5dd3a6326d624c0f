"""The `mindformers` command. Every run ends in `run.run`; what a user did wrong ends in one message and exit code 2."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Callable, List, Optional, Sequence

from mindformers.config import flags
from mindformers.errors import MindFormersError, UsageError
from mindformers.registry import register_folder

USER_ERROR = 2
INTERRUPTED = 130
CONFIGURED = ("run", "check", "plan", "preview", "preprocess", "launch")
"""Commands that take keys of the configuration as flags."""


def main(arguments: Optional[Sequence[str]] = None) -> int:
    """Carry out ``mindformers COMMAND ...``; returns the exit code."""
    return _guarded(_dispatch, list(sys.argv[1:] if arguments is None else arguments))


def run_script(arguments: Sequence[str]) -> int:
    """Carry out ``run_mindformer.py --config FILE ...``; returns the exit code."""
    return _guarded(_run_script, list(arguments))


def _guarded(command: Callable[[List[str]], int], arguments: List[str]) -> int:
    try:
        return command(arguments)
    except MindFormersError as error:
        print(f"error: {error}", file=sys.stderr)
        return USER_ERROR
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:  # the reader of a pipe, e.g. `| head`, has left
        sys.stderr.close()
        return 0


def _run_script(arguments: List[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="run_mindformer.py", description="Train, evaluate or predict as a YAML file says."
    )
    parser.add_argument("--config", required=True, help="run file, e.g. configs/qa/run_qa_bert_tiny.yaml")
    flags.add_run_flags(parser)
    kept, free = flags.split_free(arguments)
    return _run(parser.parse_args(kept), free)


def _dispatch(arguments: List[str]) -> int:
    parser = argparse.ArgumentParser(prog="mindformers", description="Transformers on MindSpore, configured by YAML.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    run = commands.add_parser("run", help="train, evaluate or predict as a YAML file says")
    run.add_argument("config", help="run file, or a name of 'mindformers list configs'")
    flags.add_run_flags(run)
    run.set_defaults(call=_run)

    check = commands.add_parser("check", help="validate a configuration and show where every value comes from")
    check.add_argument("config", help="run file, or a name of 'mindformers list configs'")
    flags.add_run_flags(check)
    check.add_argument("--defaults", action="store_true", help="show the values that nobody wrote, too")
    check.set_defaults(call=_check)

    shown = commands.add_parser("preview", help="show the first rows of the data as the model sees them")
    shown.add_argument("config", help="run file, or a name of 'mindformers list configs'")
    flags.add_run_flags(shown)
    shown.add_argument("--split", choices=("train", "eval"), default="train", help="whose rows")
    shown.add_argument("--rows", type=int, default=3, help="how many")
    shown.set_defaults(call=_preview)

    written = commands.add_parser("preprocess", help="write the rows of the training data once, for many runs")
    written.add_argument("config", help="run file, or a name of 'mindformers list configs'")
    flags.add_run_flags(written)
    written.add_argument("--to", choices=("mindrecord",), default="mindrecord", help="format")
    written.add_argument("--output", required=True, help="folder to write")
    written.set_defaults(call=_preprocess)

    plan = commands.add_parser("plan", help="where a job's parameters lie, what memory it needs, what devices send")
    plan.add_argument("config", help="run file or model size, or a name of 'mindformers list configs'")
    flags.add_run_flags(plan)
    plan.add_argument("--devices", type=int, help="default: as many as the configuration's ways multiply to")
    plan.add_argument("--memory", help="of each device, e.g. 32GB (of 2^30 bytes); default: context.max_device_memory")
    plan.add_argument("--global-batch", type=int, help="samples of a step; default: the configuration's")
    plan.add_argument("--search", action="store_true", help="look for the fastest plan that fits")
    plan.add_argument("--hardware", choices=("910A", "910B", "CPU"), help="with --search; default: 910A")
    plan.add_argument("--json", action="store_true", help="print JSON")
    plan.add_argument("--compile", action="store_true", help="let MindSpore's parallel compiler try it, and compare")
    plan.add_argument("--rank", type=int, help="with --compile: the rank; default: 0")
    plan.add_argument("--stages", action="store_true", help="with --compile: one rank of each stage in turn")
    plan.set_defaults(call=_plan)

    about = "run on several devices: start every rank of this machine"
    launched = commands.add_parser("launch", help=about, allow_abbrev=False)  # what remains goes to the ranks
    launched.add_argument("config", help="run file, or a name of 'mindformers list configs'")
    _add_launch_flags(launched)
    flags.add_run_flags(launched)
    launched.set_defaults(call=_launch, given=arguments)

    listing = commands.add_parser("list", help="what there is: tasks, models, configs")
    listing.add_argument("what", choices=("tasks", "models", "configs"))
    listing.add_argument("--params", action="store_true", help="with models: the number of parameters of every size")
    listing.add_argument("--register_path", help="folder of Python files that register your own components")
    listing.set_defaults(call=_list)

    corpus = commands.add_parser("corpus", help="write the embedded question-answering corpus")
    corpus.add_argument("folder", help="where train-v1.1.json, dev-v1.1.json and vocab.txt go")
    corpus.add_argument("--seed", type=int, default=0)
    corpus.add_argument("--overwrite", action="store_true", help="replace an earlier corpus of other settings")
    corpus.set_defaults(call=_corpus)

    convert = commands.add_parser("convert", help="turn a model folder into another library's names, type or shards")
    convert.add_argument("source", help="folder with config.json and weights, or a weight file beside its config.json")
    convert.add_argument("target", help="folder to write")
    convert.add_argument("--from", dest="source_names", choices=("hf", "native"), required=True, help="whose names")
    convert.add_argument("--to", dest="target_names", choices=("hf", "native"), required=True, help="whose names")
    convert.add_argument("--dtype", choices=("float32", "float16", "bfloat16"), help="default: as it is stored")
    convert.add_argument("--shard-size", default="5GB", help="largest weight file, e.g. 500MB, 5GB or 2GiB")
    convert.add_argument("--overwrite", action="store_true", help="replace the model that lies in the target")
    for axis in ("tensor", "pipeline"):
        about = f"ways of the {axis} axis that the target is cut into, with --to native"
        convert.add_argument(f"--{axis}-model-parallel-size", type=int, default=1, help=about)
    convert.add_argument("--type", metavar="7B", help="refuse a model that has not about so many parameters")
    convert.set_defaults(call=_convert)

    resharded = commands.add_parser("reshard", help="change the layout of weights or of a training checkpoint")
    resharded.add_argument("source", help="folder, whole or in pieces")
    resharded.add_argument("target", help="folder to write")
    resharded.add_argument("--to", required=True, help="data,tensor,stages, e.g. 1,2,2 or 1,1,1; or a run file")
    resharded.add_argument("--format", choices=("safetensors", "ckpt"), default="safetensors", help="of the files")
    resharded.set_defaults(call=_reshard)

    plot = commands.add_parser("plot", help="draw loss, learning rate, gradient norm and throughput of runs")
    plot.add_argument("runs", nargs="+", metavar="RUN", help="run folder, output folder or metrics.jsonl")
    plot.add_argument("--output", help="picture, .png or .svg; default: plot.png in the run's folder")
    plot.set_defaults(call=_plot)

    chat = commands.add_parser("chat", help="talk with a model in the terminal")
    _add_speaker_flags(chat)
    chat.add_argument("--system", help="what the model is told before the conversation")
    chat.add_argument("--max-new-tokens", type=int, help="of an answer; default: 512, or half of what the model reads")
    for name in ("temperature", "top-p"):
        chat.add_argument(f"--{name}", type=float, help="draw at random; default: as the model's files say")
    chat.add_argument("--top-k", type=int, help="draw among so many of the likeliest tokens; 0 for all")
    chat.add_argument("--seed", type=int, help="make draws repeatable")
    chat.set_defaults(call=_chat)

    serve = commands.add_parser("serve", help="answer over HTTP as the OpenAI API does, with a page to chat")
    _add_speaker_flags(serve)
    serve.add_argument("--host", default="127.0.0.1", help="address to listen at; default: this computer alone")
    serve.add_argument("--port", type=int, default=8000, help="default 8000; 0 takes any")
    serve.add_argument("--api-key", help="what clients must send; default: the variable MINDFORMERS_API_KEY, else none")
    serve.add_argument("--max-queue", type=int, default=64, help="texts that may wait; default 64")
    serve.add_argument("--max-tokens", type=int, help="of prompt and answer together; default: what the model reads")
    serve.add_argument("--max-batch", type=int, default=8, help="texts that are written at a time; default 8")
    serve.set_defaults(call=_serve)

    kept, free = flags.split_free(arguments)
    parsed = parser.parse_args(kept)
    if free and parsed.command not in CONFIGURED:
        raise UsageError(f"--{free[0].split('=')[0]}: 'mindformers {parsed.command}' takes no configuration keys")
    return parsed.call(parsed, free)


def _add_speaker_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", required=True, help="folder with config.json, weights and tokenizer")
    parser.add_argument("--adapter", help="folder of a LoRA adapter in PEFT's layout, added to the weights")
    parser.add_argument("--template", help="chat template: a name, e.g. llama2; default: the tokenizer's own")
    about = "of the weights; int8 needs a quarter of the memory and a CPU with kernels; default float32"
    parser.add_argument("--dtype", choices=("float32", "float16", "bfloat16", "int8"), default="float32", help=about)


def _add_launch_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--ranks", type=int, help="of the whole job; with --rank_table, RANK_SIZE of run_distribute.sh")
    parser.add_argument("--rank_table", help="JSON file that mindformers/tools/hccl_tools.py wrote")
    parser.add_argument("--device_range", help="devices of the table that are this machine's, [a,b] for a to b - 1")
    parser.add_argument("--nodes", type=int, default=1, help="machines, without a rank table; default 1")
    parser.add_argument("--node_rank", type=int, help="number of this machine, from 0")
    parser.add_argument("--scheduler", help="HOST[:PORT] of machine 0, where ranks find each other; port 18118")
    parser.add_argument("--log_dir", default=".", help="where mf_parallelN/mindformers.log go; default: here")


def _checked(arguments: argparse.Namespace, free: Sequence[str]):
    from mindformers.config.check import check_file
    from mindformers.config.places import find_config

    if arguments.register_path:
        register_folder(arguments.register_path)
    return check_file(find_config(arguments.config), flags.layers_for(arguments, free))


def _run(arguments: argparse.Namespace, free: Sequence[str] = ()) -> int:
    checked = _checked(arguments, free)
    from mindformers.run import run  # imports MindSpore: a wrong configuration is reported before
    from mindformers.train.stop import EXIT_CODE, RunStoppedError

    try:
        run(checked)
    except RunStoppedError as stopped:
        print(stopped, file=sys.stderr)
        return EXIT_CODE
    return 0


def _check(arguments: argparse.Namespace, free: Sequence[str]) -> int:
    from mindformers.config.explain import explain

    checked = _checked(arguments, free)
    for line in (*checked.merged.outdated, *checked.merged.unused):
        print(f"# {line}")
    print(explain(checked, arguments.defaults))
    return 0


def _preview(arguments: argparse.Namespace, free: Sequence[str]) -> int:
    checked = _checked(arguments, free)
    from mindformers.preview import print_preview

    print_preview(checked, arguments.split, arguments.rows)
    return 0


def _preprocess(arguments: argparse.Namespace, free: Sequence[str]) -> int:
    checked = _checked(arguments, free)
    from mindformers.preprocess import preprocess

    print(preprocess(checked, arguments.output))
    return 0


def _plan(arguments: argparse.Namespace, free: Sequence[str]) -> int:
    from mindformers.parallel.command import Wanted, plan_command

    names = ("devices", "memory", "global_batch", "hardware", "search", "compile", "rank", "stages")
    wanted = Wanted(**{name: getattr(arguments, name) for name in names}, as_json=arguments.json)
    print(plan_command(_checked(arguments, free), wanted))
    return 0


def _launch(arguments: argparse.Namespace, free: Sequence[str]) -> int:
    from mindformers.parallel.launch import Wanted, processes
    from mindformers.parallel.launch_processes import launch

    checked = _checked(arguments, free)
    own = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    _add_launch_flags(own)
    _, passed_on = own.parse_known_args(arguments.given[1:])
    names = ("ranks", "rank_table", "device_range", "nodes", "node_rank", "scheduler")
    wanted = Wanted(**{name: getattr(arguments, name) for name in names})
    return launch(processes(checked.run, arguments.config, passed_on, wanted), Path(arguments.log_dir))


def _list(arguments: argparse.Namespace, _: Sequence[str]) -> int:
    from mindformers.listing import configs, models, parameters, tasks

    if arguments.register_path:
        register_folder(arguments.register_path)
    if arguments.params:
        if arguments.what != "models":
            raise UsageError(f"list {arguments.what} --params: only models have parameters")
        print(parameters())
        return 0
    print({"tasks": tasks, "models": models, "configs": configs}[arguments.what]())
    return 0


def _corpus(arguments: argparse.Namespace, _: Sequence[str]) -> int:
    from mindformers.data.corpus import write_corpus

    print(write_corpus(Path(arguments.folder), seed=arguments.seed, overwrite=arguments.overwrite))
    return 0


def _convert(arguments: argparse.Namespace, _: Sequence[str]) -> int:
    from mindformers.parallel.mesh import Mesh
    from mindformers.weights.convert import convert
    from mindformers.weights.writers import byte_count

    tensor, stage = arguments.tensor_model_parallel_size, arguments.pipeline_model_parallel_size
    if min(tensor, stage) < 1:
        raise UsageError(f"parallel sizes {tensor} and {stage}: each is at least 1")
    how = arguments.dtype, byte_count(arguments.shard_size), arguments.overwrite, Mesh(1, tensor, stage), arguments.type
    print(convert(arguments.source, arguments.target, arguments.source_names, arguments.target_names, *how))
    return 0


def _reshard(arguments: argparse.Namespace, _: Sequence[str]) -> int:
    from mindformers.train.reshard import reshard

    print(reshard(arguments.source, Path(arguments.target), arguments.to, arguments.format))
    return 0


def _plot(arguments: argparse.Namespace, _: Sequence[str]) -> int:
    from mindformers.train.plot import plot

    print(plot(arguments.runs, arguments.output))
    return 0


def _chat(arguments: argparse.Namespace, _: Sequence[str]) -> int:
    from mindformers.chat.interrupts import held

    names = ("max_new_tokens", "temperature", "top_p", "top_k", "seed")
    with held():  # before MindSpore is imported, so that its threads inherit it
        from mindformers.chat.terminal import chat

        where = arguments.model, arguments.adapter, arguments.template, arguments.dtype
        chat(*where, arguments.system, {name: getattr(arguments, name) for name in names})
    return 0


def _serve(arguments: argparse.Namespace, _: Sequence[str]) -> int:
    from mindformers.serve.command import serve

    names = ("model", "adapter", "template", "host", "port", "api_key", "max_queue", "max_tokens", "max_batch", "dtype")
    serve(**{name: getattr(arguments, name) for name in names})
    return 0


if __name__ == "__main__":
    sys.exit(main())
