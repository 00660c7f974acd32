#!/usr/bin/env bash
# Everything on a real NVIDIA GPU, with the Python that is active. It never passes for want of one:
# no GPU, a backend that cannot run, or a single skipped test ends it with a status other than 0.
# It needs the extras `dev` and `cuda13`, g++, and compute-sanitizer from the CUDA toolkit.
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

# Runs the suite under an optional wrapper and fails on a skip as on a failure.
run_tests() {
    "$@" | tee "$log"
    if grep -Eq '^SKIPPED|[0-9]+ skipped' "$log"; then
        refuse "tests were skipped, and on a GPU none may be"
    fi
}

heading "pytest"
run_tests python -m pytest -n 0 -rs

sanitizer=$(command -v compute-sanitizer || true)
[[ -n $sanitizer || ! -x /usr/local/cuda/bin/compute-sanitizer ]] ||
    sanitizer=/usr/local/cuda/bin/compute-sanitizer
if [[ -z $sanitizer ]]; then
    heading "compute-sanitizer is not installed: memory, race, initialisation and barrier checks did not run"
    exit 0
fi
# Errors of the driver's interface are left to the suite: libraries provoke some on purpose, to find out
# what a driver can do.
for tool in memcheck racecheck initcheck synccheck; do
    heading "compute-sanitizer $tool"
    run_tests "$sanitizer" --tool "$tool" --error-exitcode 1 --report-api-errors no \
        python -m pytest -n 0 -rs tests/kernels/test_cu_shim.py tests/kernels/test_numba_simulator.py \
        tests/test_device_arrays.py
done
