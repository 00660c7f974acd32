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

log=$(mktemp)
trap 'rm -f "$log"' EXIT

# Runs a part of the suite, in so many processes, and fails on a skip as on a failure. What it prints last
# says how many tests passed.
run_tests() {
    python -m pytest -q -rs "$@" | tee "$log"
    if grep -Eq '^SKIPPED|[0-9]+ skipped' "$log"; then
        refuse "tests were skipped, and on a GPU none may be"
    fi
    results+=("$1: $(tail -n 1 "$log" | tr -d =)")
}
results=()

# Large arrays fill a GPU: those tests run alone.
processes=$(($(nproc) < 14 ? $(nproc) : 14))
heading "tests/gpu, in one process"
run_tests tests/gpu -n 0
heading "all other tests, in $processes processes"
run_tests tests vecprod_gpu --ignore tests/gpu -n "$processes" --maxprocesses "$processes"

# Errors of the driver's interface are left to the suite: libraries provoke some on purpose, to find out
# what a driver can do.
for dialect in cupy numba-cuda; do
    for tool in memcheck racecheck initcheck synccheck; do
        heading "compute-sanitizer $tool, every kernel of $dialect"
        "$sanitizer" --tool "$tool" --error-exitcode 1 --report-api-errors no \
            python -m tests.kernels.every_kernel "$dialect" | tee "$log"
        results+=("$tool, $dialect: $(tail -n 1 "$log" | sed 's/=* *//')")
    done
done

heading "all passed"
printf '%s\n' "$gpus" "${results[@]}"
