#!/usr/bin/env bash
# Start the ranks of this machine and wait for them; `mindformers launch` does it, docs/launch.md tells how.
set -euo pipefail
if [ $# -lt 4 ]; then
    cat >&2 <<'USAGE'
Usage: bash run_distribute.sh RANK_TABLE_FILE CONFIG_PATH DEVICE_RANGE RUN_MODE [RANK_SIZE] [--flag value ...]
  DEVICE_RANGE  [a,b] for the devices a to b - 1; with RANK_SIZE, of several machines, the ranks a to b - 1
  RUN_MODE      train, finetune, eval or predict
Too few arguments: is one of them a variable that is not set?
USAGE
    exit 2
fi
table=$1 config=$2 devices=$3 mode=$4
shift 4
size=()
if [ $# -gt 0 ] && [ "${1#--}" = "$1" ]; then
    size=(--ranks "$1")
    shift
fi
exec "${PYTHON:-python}" -m mindformers.cli launch "$config" --rank_table "$table" --device_range "$devices" \
    "${size[@]}" --run_mode "$mode" "$@"
