#!/usr/bin/env bash
# Run on one device and wait for it; what it prints is added to mf_standalone/mindformers.log, too.
set -euo pipefail
if [ $# -lt 3 ]; then
    cat >&2 <<'USAGE'
Usage: bash run_standalone.sh CONFIG_PATH DEVICE_ID RUN_MODE [--flag value ...]
  RUN_MODE  train, finetune, eval or predict
Too few arguments: is one of them a variable that is not set?
USAGE
    exit 2
fi
config=$1 mode=$3
export DEVICE_ID=$2
shift 3
mkdir -p mf_standalone
exec > >(tee -a mf_standalone/mindformers.log) 2>&1
exec "${PYTHON:-python}" -m mindformers.cli run "$config" --use_parallel=False --run_mode "$mode" \
    --device_id "$DEVICE_ID" "$@"
