"""What is read does not stay: a process holds little more than its batches, however large the file."""

import os
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

ROWS, COLUMNS = 1_500_000, 16  # 96 MB of float32
MEBIBYTE = 1 << 20

SCRIPT = """
import sys, threading, time
import numpy, pyarrow.compute, pyarrow.csv, pyarrow.parquet
from vecprod_gpu.stream._memory import resident_bytes
from vecprod_gpu.stream._observations import open_observations
from vecprod_gpu.stream._vectors import open_vectors

peak, is_over = 0, False

def watch():
    global peak
    while not is_over:
        peak = max(peak, resident_bytes())
        time.sleep(0.001)

before = resident_bytes()
watcher = threading.Thread(target=watch)
watcher.start()
total, rows = 0.0, 0
if sys.argv[2] == "vectors":
    vectors = open_vectors(sys.argv[1])
    for start in range(0, vectors.shape[0], 50_000):
        part = vectors.read(start, start + 50_000)
        total, rows = total + float(part.sum(dtype=numpy.float64)), rows + len(part)
        vectors.release(start, start + 50_000)
else:
    for batch in open_observations(sys.argv[1], target=0).batches(0, 4 << 20):
        total += float(batch.X.sum(dtype=numpy.float64)) + float(batch.y.sum(dtype=numpy.float64))
        rows += len(batch.X)
is_over = True
watcher.join()
print(rows, total, peak - before)
"""


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A table as one array in either order, and as one row group; and the sum of its numbers."""
    folder = tmp_path_factory.mktemp("large")
    values = np.random.default_rng(0).normal(size=(ROWS, COLUMNS)).astype(np.float32)
    np.save(folder / "C.npy", values)
    np.save(folder / "F.npy", np.asfortranarray(values))
    table = pa.table({f"x{position}": column for position, column in enumerate(values.T)})
    parquet.write_table(table, folder / "t.parquet", row_group_size=ROWS, compression="none")
    return folder, values.sum(dtype=np.float64)


@pytest.mark.parametrize("file", ["C.npy", "F.npy", "t.parquet"])
@pytest.mark.parametrize("how", ["batches", "vectors"])
def test_the_rows_that_were_read_are_given_back(file, how, files):
    folder, total = files
    command = [sys.executable, "-c", SCRIPT, str(folder / file), how]
    # Arrow's other allocators keep some of what was given back to them, for as many threads as there are.
    environment = os.environ | {"ARROW_DEFAULT_MEMORY_POOL": "system"}
    ended = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    rows, found, held = ended.stdout.split()
    assert int(rows) == ROWS
    np.testing.assert_allclose(float(found), total, rtol=1e-6)
    assert int(held) < 64 * MEBIBYTE
