#!/usr/bin/env bash
# Everything on a real NVIDIA GPU, with the Python that is active. It never passes for want of one:
# no GPU, a backend that cannot run, a sanitizer that is not installed, or a single skipped test ends it with
# a status other than 0. It needs the extras `dev`, `cuda13` and `torch`, g++, and compute-sanitizer from the
# CUDA toolkit.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

heading() { printf '\n== %s ==\n' "$*"; }
refuse() {
    printf 'ci/gpu.sh: %s\n' "$*" >&2
    exit 1
}

command -v nvidia-smi >/dev/null || refuse "no NVIDIA GPU here: nvidia-smi is not installed"
gpus=$(nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv,noheader) ||
    refuse "no NVIDIA GPU here: nvidia-smi finds none"
[[ -n $gpus ]] || refuse "no NVIDIA GPU here: nvidia-smi lists none"
sanitizer=$(PATH=$PATH:${CUDA_HOME:-/usr/local/cuda}/bin command -v compute-sanitizer) ||
    refuse "compute-sanitizer is not installed: it comes with the CUDA toolkit"

heading "the GPU"
printf '%s\n' "$gpus"

heading "the backends"
python - <<'PYTHON'
import sys

import vecprod_gpu

missing = {
    name: status
    for name, status in vecprod_gpu.backends().items()
    if name in ("cupy", "numba-cuda") and not status.available
}
for name, status in missing.items():
    print(f"{name} cannot run: {status.reason} {status.remedy}", file=sys.stderr)
sys.exit(1 if missing else 0)
PYTHON

# The suite then stands in nothing for the GPU: no shim, no simulator.
export VECPROD_TEST_REAL_GPU=1

logs=$(mktemp -d)
trap 'rm -rf "$logs"' EXIT
results=()
failures=()

# Runs a part of the suite, in so many processes; a skip counts as a failure. What it prints last says how
# many tests passed.
run_tests() {
    local log=$logs/tests passed=true
    python -m pytest -q -rs "$@" | tee "$log" || passed=false
    grep -Eq '^SKIPPED|[0-9]+ skipped' "$log" && passed=false
    $passed || failures+=("$1")
    results+=("$1: $(tail -n 1 "$log" | tr -d =)")
}

# Large arrays fill a GPU: those tests run alone.
processes=$(($(nproc) < 14 ? $(nproc) : 14))
heading "tests/gpu, in one process"
run_tests tests/gpu -n 0
heading "all other tests, in $processes processes"
run_tests tests vecprod_gpu --ignore tests/gpu -n "$processes" --maxprocesses "$processes"

# Errors of the driver's interface are left to the suite: libraries provoke some on purpose, to find out
# what a driver can do.
watch_kernels() {
    "$sanitizer" --tool "$2" --error-exitcode 1 --report-api-errors no \
        python -m tests.kernels.every_kernel "$1" >"$logs/$2" 2>&1
}

for dialect in cupy numba-cuda; do
    heading "compute-sanitizer, every kernel of $dialect, with each tool at once"
    declare -A jobs=()
    for tool in memcheck racecheck initcheck synccheck; do
        watch_kernels "$dialect" "$tool" &
        jobs[$tool]=$!
    done
    for tool in "${!jobs[@]}"; do
        wait "${jobs[$tool]}" || failures+=("$tool, $dialect")
        heading "$tool"
        cat "$logs/$tool"
        results+=("$tool, $dialect: $(tail -n 1 "$logs/$tool" | sed 's/=* *//')")
    done
done

heading "the results"
printf '%s\n' "$gpus" "${results[@]}"
((${#failures[@]} == 0)) || refuse "failed: $(printf '%s; ' "${failures[@]}")"
heading "all passed"
