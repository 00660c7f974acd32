"""Products that go from disk to disk have the bits of the call in memory, whatever their blocks."""

from itertools import product

import numpy as np
import pytest
import zarr

import vecprod_gpu as vp
from tests.jobs.tables import FORMATS, save
from vecprod_gpu.stream import _memory, _outputs, _products
from vecprod_gpu.stream._memory import resident_bytes

PRODUCTS = ("batched_outer", "cross")
SHAPES = [
    ((3,), (3,)),
    ((7, 3), (7, 3)),
    ((7, 3), (3,)),
    ((1, 3), (7, 3)),
    ((5, 1, 3), (4, 3)),
    ((1, 1, 3), (2, 6, 3)),
    ((0, 3), (0, 3)),
    ((2, 0, 3), (3,)),
]


@pytest.fixture(autouse=True)
def in_a_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def block_bytes(request, monkeypatch):
    """Blocks, and chunks of Zarr, of so many bytes."""
    monkeypatch.setattr(_products, "BLOCK_BYTES", request.param)
    monkeypatch.setattr(_outputs, "BLOCK_BYTES", request.param)


def place(kind, shape, dtype):
    """An output of some kind, and a function that says what it holds by then."""
    if kind == "a file":
        return "out.npy", lambda: np.load("out.npy")
    if kind == "a store":
        return "out.zarr", lambda: zarr.open_array("out.zarr", mode="r")[...]
    if kind == "an array":
        array = np.full(shape, 77, dtype)
        return array, lambda: array
    if kind == "a strided array":
        array = np.full((*shape[:-1], 2 * shape[-1]), 77, dtype)[..., ::2]
        return array, lambda: array
    if kind == "a map":
        array = np.lib.format.open_memmap("map.npy", "w+", dtype, shape)
        return array, lambda: np.load("map.npy")
    chunks = tuple(min(length, 2) or 1 for length in shape)
    array = zarr.create_array({}, shape=shape, dtype=dtype, chunks=chunks)
    return array, lambda: array[...]


KINDS = ("a file", "a store", "an array", "a strided array", "a map", "a Zarr array")


def same_bits(result, expected):
    return (result.dtype, result.shape, result.tobytes()) == (
        expected.dtype,
        expected.shape,
        expected.tobytes(),
    )


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("block_bytes", [1, 200, 2**22], indirect=True)
@pytest.mark.parametrize("name", PRODUCTS)
def test_blocks_cannot_be_seen(name, block_bytes, kind, rng):
    for a_shape, b_shape in SHAPES:
        a, b = np.asfortranarray(rng.normal(size=a_shape)), rng.normal(size=b_shape)
        np.save("a.npy", a)
        expected = getattr(vp, name)(a, b)
        if kind == "a map" and not expected.size:
            continue  # NumPy maps no file without numbers
        out, result = place(kind, expected.shape, expected.dtype)
        getattr(vp.stream, name)("a.npy", b, out)
        assert same_bits(result(), expected), (a_shape, b_shape)


@pytest.mark.parametrize(
    ("name", "codes"),
    [*product(PRODUCTS, ["ff", "ef", "dD", "FF", "bh", "qd", "DD"]), ("batched_outer", "??")],
)
def test_the_dtype_is_that_in_memory(name, codes, rng):
    a, b = (rng.integers(0, 2, (70_000, 3)).astype(code) * rng.normal(size=()).astype(code) for code in codes)
    expected = getattr(vp, name)(a, b)
    for kind in ("a file", "a store", "an array"):
        out, result = place(kind, expected.shape, expected.dtype)
        getattr(vp.stream, name)(a, b, out)
        assert same_bits(result(), expected)


def test_an_array_of_another_dtype_receives_a_cast(rng):
    a, b = rng.normal(size=(2, 100, 3))
    for kind in ("an array", "a Zarr array", "a map"):
        out, result = place(kind, (100, 3), np.float32)
        vp.stream.cross(a, b, out)
        assert same_bits(result(), np.cross(a, b).astype(np.float32))


@pytest.mark.parametrize("suffix", [*FORMATS, ".zarr"])
@pytest.mark.parametrize("block_bytes", [200, 2**22], indirect=True)
def test_every_format_is_read(suffix, block_bytes, tmp_path, rng):
    a, b = rng.normal(size=(2, 50, 3))
    if suffix == ".zarr":
        zarr.create_array("a.zarr", data=a, chunks=(7, 2))
    else:
        save(tmp_path / f"a{suffix}", a)
    vp.stream.cross(f"a{suffix}", b, "out.npy")
    assert same_bits(np.load("out.npy"), np.cross(a, b))


def test_columns_are_chosen_of_both(tmp_path, rng):
    a, b = rng.normal(size=(2, 50, 5))
    save(tmp_path / "a.csv", a), np.save("b.npy", b)
    vp.stream.batched_outer("a.csv", "b.npy", "out.npy", columns=[3, 0])
    assert same_bits(np.load("out.npy"), a[:, [3, 0], None] * b[:, None, [3, 0]])


@pytest.mark.parametrize("chunks", [(5, 8, 16), (1, 3, 5), (64, 1, 1), (1000, 8, 2)])
def test_a_block_of_a_zarr_array_has_whole_chunks(chunks, rng, monkeypatch):
    monkeypatch.setattr(_products, "BLOCK_BYTES", 9000)
    a, b = rng.normal(size=(100, 8)), rng.normal(size=(100, 16))
    out = zarr.create_array({}, shape=(100, 8, 16), dtype=float, chunks=chunks)
    written, write = [], _outputs.ZarrArray.write
    monkeypatch.setattr(
        _outputs.ZarrArray, "write", lambda self, cut, block: written.append(cut) or write(self, cut, block)
    )
    vp.stream.batched_outer(a, b, out)
    assert same_bits(out[...], a[:, :, None] * b[:, None, :])
    for cut in written:
        for part, chunk, length in zip(cut, chunks, out.shape, strict=True):
            assert part.start % chunk == 0
            assert part.stop % chunk == 0 or part.stop == length


def test_shards_are_written_once(rng, monkeypatch):
    monkeypatch.setattr(_products, "BLOCK_BYTES", 1)
    a, b = rng.normal(size=(2, 100, 3))
    out = zarr.create_array({}, shape=(100, 3), dtype=float, chunks=(5, 3), shards=(20, 3))
    vp.stream.cross(a, b, out)
    assert same_bits(out[...], np.cross(a, b))


def test_large_chunks_of_the_output_fit_where_the_budget_is_large(rng, monkeypatch):
    monkeypatch.setattr(_memory, "MOST_BATCH_BYTES", 1 << 20)
    a, b = rng.normal(size=(2, 100_000, 3))
    out = zarr.create_array({}, shape=a.shape, dtype=float, chunks=a.shape)
    vp.stream.cross(a, b, out, memory="100GB")
    assert same_bits(out[...], np.cross(a, b))


def test_the_backend_is_that_of_the_whole(rng, monkeypatch):
    """Blocks small enough for another backend do not go there, which could be seen in a bit."""
    monkeypatch.setattr(_products, "BLOCK_BYTES", 1000)
    a, b = rng.normal(size=(2, 60_000, 3))
    whole = vp.explain(vp.cross, a, b).backend
    seen = set()
    cross = vp.products.cross

    def watched(*arrays, out):
        seen.add(vp.explain(cross, *arrays).backend)
        return cross(*arrays, out=out)

    monkeypatch.setattr(vp.products, "cross", watched)
    monkeypatch.setattr(vp._dispatch, "explain", lambda _, *arrays: EXPLAIN(cross, *arrays))
    vp.stream.cross(a[:500], np.broadcast_to(b[:1], (500, 3)), np.empty((500, 3)))
    assert seen == {EXPLAIN(cross, a[:500], b[:500]).backend}
    seen.clear()
    vp.stream.cross(a, b, np.empty((60_000, 3)))
    assert seen == {whole}


EXPLAIN = vp._dispatch.explain


@pytest.mark.parametrize("backend", ["reference", "cpu"])
def test_a_backend_that_was_asked_for_is_obeyed(backend, rng):
    a, b = rng.normal(size=(2, 100, 3))
    before = vp._dispatch.latest.backend
    with vp.use_backend(backend):
        vp.stream.cross(a, b, np.empty((100, 3)))
    assert vp._dispatch.latest.backend == backend or before == backend


def test_a_row_that_all_share_is_read_once(rng, monkeypatch):
    monkeypatch.setattr(_products, "BLOCK_BYTES", 1000)
    np.save("a.npy", rng.normal(size=(1000, 4))), np.save("b.npy", rng.normal(size=(1, 4)))
    read, ranges = _products.Vectors.read, []
    monkeypatch.setattr(
        _products.Vectors,
        "read",
        lambda self, *rows: ranges.append((self.name, *rows)) or read(self, *rows),
    )
    vp.stream.batched_outer("a.npy", "b.npy", "out.npy")
    assert ranges.count(("b.npy", 0, 1)) == 1
    assert sum(stop - start for name, start, stop in ranges if name == "a.npy") == 1000


def test_what_a_store_holds_does_not_depend_on_the_memory(rng):
    a = rng.normal(size=(300_000, 4))
    stores = []
    for memory in (None, "4GB"):
        vp.stream.batched_outer(a, a, "out.zarr", memory=memory)
        stores.append(zarr.open_array("out.zarr", mode="r").chunks)
    assert len(set(stores)) == 1
    assert np.prod(stores[0]) * 8 <= 2**22


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ((np.ones((4, 3)), np.ones((5, 3)), "out.npy"), vp.errors.ShapeError, r"\(4,\) and \(5,\)"),
        ((np.ones(()), np.ones(3), "out.npy"), vp.errors.ShapeError, "at least one axis"),
        ((np.ones((4, 3)), np.ones(3), np.ones((4, 3, 4))), vp.errors.ShapeError, r"needed is \(4, 3, 3\)"),
        ((np.ones(3), np.ones(3), np.ones((3, 3), int)), vp.errors.DTypeError, "same_kind"),
        ((np.ones(3), np.ones(3), [1.0]), vp.errors.DTypeError, "out must be a path"),
        ((np.ones(3), np.ones(3), "out.csv"), vp.errors.BadInputError, r"must end in .npy or .zarr"),
        (("none.npy", np.ones(3), "out.npy"), vp.errors.BadInputError, "none.npy"),
        ((np.ones(3), np.ones(3), "none/out.npy"), vp.errors.BadInputError, "cannot write none/out.npy"),
        ((np.ones(3), np.ones(3), "none/out.zarr"), vp.errors.BadInputError, "cannot write none/out.zarr"),
    ],
)
def test_what_cannot_be_is_refused_and_leaves_nothing(arguments, error, words, tmp_path):
    with pytest.raises(error, match=words):
        vp.stream.batched_outer(*arguments)
    assert list(tmp_path.iterdir()) == []


def test_a_zarr_array_that_does_not_fit():
    out = zarr.create_array({}, shape=(4, 3), dtype=int, chunks=(4, 3))
    with pytest.raises(vp.errors.DTypeError, match="int64, which cannot hold"):
        vp.stream.cross(np.ones((4, 3)), np.ones(3), out)
    with pytest.raises(vp.errors.ShapeError, match=r"needed is \(5, 3\)"):
        vp.stream.cross(np.ones((5, 3)), np.ones(3), out)


def test_vectors_of_other_lengths_are_refused():
    with pytest.raises(vp.errors.ShapeError, match="vectors of 3 components"):
        vp.stream.cross(np.ones((4, 2)), np.ones(3), "out.npy")


def test_an_output_that_is_an_input_is_refused(rng):
    a = rng.normal(size=(5, 3))
    np.save("a.npy", a)
    with pytest.raises(vp.errors.BadInputError, match=r"a.npy is both an input and the output"):
        vp.stream.cross("a.npy", a, "./a.npy")
    whole = np.load("a.npy", mmap_mode="r+")
    with pytest.raises(vp.errors.BadInputError, match="both an input and the output"):
        vp.stream.cross("a.npy", a, whole)
    with pytest.raises(vp.errors.ArgumentError, match="out overlaps b"):
        vp.stream.cross("a.npy", a, a[::-1])
    np.testing.assert_array_equal(np.load("a.npy"), a)


def test_a_memory_that_does_not_suffice_is_refused(tmp_path):
    with pytest.raises(vp.errors.ArgumentError, match="memory is 1000000 bytes"):
        vp.stream.cross(np.ones((4, 3)), np.ones(3), "out.npy", memory="1MB")
    assert list(tmp_path.iterdir()) == []


def test_a_chunk_that_has_no_room_is_refused():
    out = zarr.create_array({}, shape=(10**6, 100, 100), dtype=float, chunks=(10**5, 100, 100))
    with pytest.raises(vp.errors.ArgumentError, match=r"8000000000 bytes"):
        vp.stream.batched_outer(
            np.ones((10**6, 100)), np.ones((1, 100)), out, memory=resident_bytes() + 2 * 10**9
        )
