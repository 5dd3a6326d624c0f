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
    convert.set_defaults(call=_convert)

    kept, free = flags.split_free(arguments)
    parsed = parser.parse_args(kept)
    if free and parsed.command not in ("run", "check"):
        raise UsageError(f"--{free[0].split('=')[0]}: 'mindformers {parsed.command}' takes no configuration keys")
    return parsed.call(parsed, free)


def _checked(arguments: argparse.Namespace, free: Sequence[str]):
    from mindformers.config.check import check_file
    from mindformers.config.places import find_config

    if arguments.register_path:
        register_folder(arguments.register_path)
    return check_file(find_config(arguments.config), flags.layers_for(arguments, free))


def _run(arguments: argparse.Namespace, free: Sequence[str] = ()) -> int:
    checked = _checked(arguments, free)
    from mindformers.run import run  # imports MindSpore: a wrong configuration is reported before

    run(checked)
    return 0


def _check(arguments: argparse.Namespace, free: Sequence[str]) -> int:
    from mindformers.config.explain import explain

    checked = _checked(arguments, free)
    for line in (*checked.merged.outdated, *checked.merged.unused):
        print(f"# {line}")
    print(explain(checked, arguments.defaults))
    return 0


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
    from mindformers.weights.convert import convert
    from mindformers.weights.writers import byte_count

    shard_bytes = byte_count(arguments.shard_size)
    names = arguments.source_names, arguments.target_names
    print(convert(arguments.source, arguments.target, *names, arguments.dtype, shard_bytes, arguments.overwrite))
    return 0


if __name__ == "__main__":
    sys.exit(main())
