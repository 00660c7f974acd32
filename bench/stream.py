"""A fit of files that need not fit in memory, beside a program that merely reads and sums the same file.

Run it as ``python -m vecprod_gpu.bench.stream --size 6GB --memory 1GB``.
Both are run in processes of their own, in turns, so that the page cache is in the same state for both; the
first of each is not counted.  Printed are the rates, their ratio, and the most that the fit held in memory.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from vecprod_gpu.stream._memory import parse_memory

BLOCK_BYTES = 1 << 25

# Two simple programs: one reads into a buffer, and one maps the file, which copies nothing that is cached.
READ_AND_SUM = """
import sys, time
import numpy as np
path, how = sys.argv[1:]
start = time.perf_counter()
total = 0.0
if how == "buffer":
    header = np.load(path, mmap_mode="r").offset
    buffer = np.empty({block} // 8, np.float64)
    with open(path, "rb", buffering=0) as stream:
        stream.seek(header)
        while count := stream.readinto(buffer):
            total += float(buffer[: count // 8].sum())
else:
    values = np.load(path, mmap_mode="r").reshape(-1)
    for first in range(0, len(values), {block} // 8):
        total += float(values[first : first + {block} // 8].sum())
print(time.perf_counter() - start)
"""

FIT = """
import sys, time
from vecprod_gpu import stream
folder, memory, checkpoint = sys.argv[1:]
from vecprod_gpu import linreg_fit
import numpy as np
columns = np.load(f"{folder}/X.npy", mmap_mode="r").shape[1]
rows = np.random.default_rng(0).normal(size=((1 << 23) // columns, columns))
linreg_fit(rows, rows[:, 0] + 1)  # loads the kernels
del rows
start = time.perf_counter()
stream.linreg_fit(
    f"{folder}/X.npy", target=f"{folder}/y.npy", memory=int(memory), checkpoint=checkpoint or None, every=1.0
)
seconds = time.perf_counter() - start
peak = next(line for line in open("/proc/self/status") if line.startswith("VmHWM")).split()[1]
print(seconds, peak)
"""


def make(folder: Path, nbytes: int, columns: int) -> None:
    """Write X and y of float64, X of so many bytes."""
    rows = nbytes // (8 * columns)
    rng = np.random.default_rng(0)
    X = np.lib.format.open_memmap(folder / "X.npy", "w+", np.float64, (rows, columns))
    y = np.lib.format.open_memmap(folder / "y.npy", "w+", np.float64, (rows,))
    block = rng.standard_normal((BLOCK_BYTES // (8 * columns), columns), np.float64)
    noise = rng.standard_normal(len(block))
    for start in range(0, rows, len(block)):
        part = X[start : start + len(block)]
        part[:] = block[: len(part)]
        y[start : start + len(part)] = part[:, 0] - part[:, -1] + noise[: len(part)]


def run(program: str, *arguments: object) -> list[float]:
    """The numbers that a program prints."""
    finished = subprocess.run(
        [sys.executable, "-c", program, *map(str, arguments)], stdout=subprocess.PIPE, text=True, check=True
    )
    return [float(word) for word in finished.stdout.split()]


def measure(folder: Path, memory: int, turns: int, checkpoint: str) -> dict[str, float]:
    """Seconds of each, and the peak of the fit."""
    read = READ_AND_SUM.replace("{block}", str(BLOCK_BYTES))
    seconds: dict[str, list[float]] = {"buffer": [], "map": [], "fit": []}
    peak = 0.0
    for turn in range(turns + 1):
        for how in ("buffer", "map"):
            seconds[how] += run(read, folder / "X.npy", how)
        took, held = run(FIT, folder, memory, checkpoint)
        seconds["fit"].append(took)
        peak = max(peak, 1024 * held)
        if turn == 0:
            for each in seconds.values():
                each.clear()
    nbytes = (folder / "X.npy").stat().st_size
    rates = {name: nbytes / statistics.median(each) for name, each in seconds.items()}
    return {
        **{f"{name}_bytes_per_second": rate for name, rate in rates.items()},
        "ratio_to_buffer": rates["fit"] / rates["buffer"],
        "ratio_to_map": rates["fit"] / rates["map"],
        "peak_bytes": peak,
    }


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--size", default="6GB", type=parse_memory, help="of X; 6GB unless given")
    parser.add_argument("--memory", default="1GB", type=parse_memory, help="of the fit; 1GB unless given")
    parser.add_argument("--columns", default=8, type=int, help="of X; 8 unless given")
    parser.add_argument("--turns", default=3, type=int, help="of each program that are counted")
    parser.add_argument("--folder", type=Path, help="where X.npy and y.npy are, or are made and stay")
    parser.add_argument("--checkpoint", action="store_true", help="write one every second meanwhile")
    parser.add_argument("--json", action="store_true", help="print JSON")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="vecprod-bench-", dir=Path.cwd()) as temporary:
        folder = asked.folder or Path(temporary)
        if not (folder / "X.npy").exists():
            folder.mkdir(parents=True, exist_ok=True)
            make(folder, asked.size, asked.columns)
        checkpoint = str(Path(temporary) / "checkpoint") if asked.checkpoint else ""
        found = measure(folder, asked.memory, asked.turns, checkpoint)
    if asked.json:
        print(json.dumps(found))
        return
    for name in ("buffer", "map", "fit"):
        print(f"{name:>6}: {found[f'{name}_bytes_per_second'] / 1e9:6.2f} GB/s")
    print(f"the fit to a read into a buffer: {found['ratio_to_buffer']:.2f}")
    print(f"the fit to a sum of the mapped file: {found['ratio_to_map']:.2f}")
    print(f"most that the fit held: {found['peak_bytes'] / 1e6:.0f} MB of {asked.memory / 1e6:.0f} MB")


if __name__ == "__main__":
    main()
