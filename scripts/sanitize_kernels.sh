#!/usr/bin/env bash
# Run the kernels of the CPU under the address, undefined behaviour and thread sanitizers of the compiler.
# Python stays outside: tests/kernels/drive.cc calls them as MindSpore does.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

ONEDNN=$(python -c '
from importlib.util import find_spec
from pathlib import Path
print(next(Path(find_spec("mindspore").submodule_search_locations[0], "lib").glob("libdnnl.so.*")))')
COMPILER=${CXX:-g++}
FOLDER=$(mktemp -d)
trap 'rm -rf "$FOLDER"' EXIT
SOURCES=(mindformers/kernels/csrc/*.cc tests/kernels/drive.cc)
export LD_LIBRARY_PATH=$(dirname "$ONEDNN")${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}

# oneDNN itself is not instrumented, so the order that its own atomics make is not seen.
printf 'called_from_lib:libdnnl.so.3\nrace:libdnnl.so.3\n' >"$FOLDER/suppressions"

for sanitizer in address,undefined thread; do
    echo "== $sanitizer"
    flags=(-std=c++17 -O1 -g -fopenmp-simd "-fsanitize=$sanitizer" -fno-sanitize-recover=all)
    objects=()
    for set in portable "avx2 -mavx2 -mfma" "avx512 -mavx512f -mavx512bw -mavx512dq -mavx512vl"; do
        read -r name options <<<"$set"
        for source in mindformers/kernels/csrc/vector/*.cc; do
            objects+=("$FOLDER/$(basename "$source").$name.o")
            # shellcheck disable=SC2086
            "$COMPILER" "${flags[@]}" "-DISA=$name" $options -c "$source" -o "${objects[-1]}"
        done
    done
    "$COMPILER" "${flags[@]}" "${SOURCES[@]}" "${objects[@]}" -o "$FOLDER/drive" -pthread -ldl
    MINDFORMERS_THREADS=4 TSAN_OPTIONS="suppressions=$FOLDER/suppressions" "$FOLDER/drive" "$ONEDNN"
done
echo "no error found"
