"""Start a run from the command line: ``python run_mindformer.py --config configs/qa/run_qa_bert_tiny.yaml``."""

import sys

from mindformers.cli import run_script

if __name__ == "__main__":
    sys.exit(run_script(sys.argv[1:]))
