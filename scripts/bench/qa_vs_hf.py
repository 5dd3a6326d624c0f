"""Fine-tune the same encoder on the same SQuAD rows here and with Hugging Face's Trainer; print both side by side.

    python scripts/bench/qa_vs_hf.py --weights MINILM_DIR --data SQUAD_DIR      # shortened, under 15 minutes
    python scripts/bench/qa_vs_hf.py --weights MINILM_DIR --data SQUAD_DIR --setting full --seeds 42 43 44

It is `task_vs_hf.py` with the two settings of question answering; further arguments go there.
"""

from __future__ import annotations

import argparse

import task_vs_hf


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="folder with train-v1.1.json and dev-v1.1.json")
    parser.add_argument("--setting", choices=("short", "full"), default="short")
    arguments, others = parser.parse_known_args()
    chosen = ["--task", "question_answering", "--dataset", arguments.setting]
    task_vs_hf.main([*chosen, "--data", arguments.data, *others])


if __name__ == "__main__":
    main()
