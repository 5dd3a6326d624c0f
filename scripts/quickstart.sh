#!/usr/bin/env bash
# Install, write the embedded corpus, train a small BERT from scratch on the CPU, evaluate it and ask it a question.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=scripts/environment.sh
. scripts/environment.sh

python -m pip install --quiet --disable-pip-version-check -e .

started=$(date +%s)
config=configs/qa/run_qa_bert_tiny.yaml
mindformers corpus data/qa_corpus
python run_mindformer.py --config "$config" --run_mode train "$@"
python run_mindformer.py --config "$config" --run_mode eval "$@"
python run_mindformer.py --config "$config" --run_mode predict "$@" \
    --predict_data "My name is Wolfgang and I live in Berlin - Where do I live?"
echo "quickstart finished in $(($(date +%s) - started)) s after installation"
