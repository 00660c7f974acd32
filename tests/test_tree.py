"""The tree by which summaries are merged: the same nodes in whatever order its leaves come together."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pytest

import vecprod_gpu as vp
from tests.test_comoments import assert_same_bits, random_rows
from vecprod_gpu import TSQR, CoMoments
from vecprod_gpu.linreg._streaming import streamed
from vecprod_gpu.linreg._streaming.rows import Rows
from vecprod_gpu.linreg._streaming.tree import Part, Tree

KINDS = [CoMoments, TSQR]


@dataclass(frozen=True)
class Merged:
    """How it was merged, as text."""

    text: str

    def merge(self, later):
        return Merged(f"({self.text} {later.text})")


def tree_of(first, stop):
    tree = Tree(first)
    for leaf in range(first, stop):
        tree.push(Merged(str(leaf)))
    return tree


def joined_in_random_order(rng, parts, join):
    """The parts joined, neighbours at random, until one is left."""
    parts = list(parts)
    while len(parts) > 1:
        i = rng.integers(len(parts) - 1)
        parts[i : i + 2] = [join(parts[i], parts[i + 1])]
    return parts[0]


def joined(first, later):
    tree = first.copy()
    tree.join(later)
    return tree


def random_cuts(rng, n, most=6):
    """Places from 0 to n, both among them, at which n things are cut."""
    inner = rng.integers(1, n, rng.integers(0, most)) if n > 1 else []
    return sorted({0, n, *map(int, inner)})


@pytest.mark.parametrize("seed", range(40))
def test_trees_join_into_that_of_one_pass(seed):
    rng = np.random.default_rng(seed)
    first = int(rng.integers(40))
    cuts = [first + cut for cut in random_cuts(rng, int(rng.integers(1, 70)), 12)]
    parts = [tree_of(*cut) for cut in pairwise(cuts)]
    tree = joined_in_random_order(rng, parts, joined)
    whole = tree_of(cuts[0], cuts[-1])
    assert tree.nodes == whole.nodes
    assert tree.stop == whole.stop == cuts[-1]
    assert tree.total() == whole.total()


def test_it_is_a_binary_counter():
    assert tree_of(0, 7).total().text == "(((0 1) (2 3)) ((4 5) 6))"
    assert [level and level.text for level in tree_of(0, 5).levels] == ["4", None, "((0 1) (2 3))"]
    assert [node.summary.text for node in tree_of(3, 9).nodes] == ["3", "((4 5) (6 7))", "8"]
    assert Tree().total() is None
    assert Tree().levels == []


@pytest.mark.parametrize("leaves", [*range(10), 37, 64])
def test_levels_are_all_of_it(leaves):
    tree = tree_of(0, leaves)
    again = Tree.of_levels(tree.levels)
    assert (again.nodes, again.stop) == (tree.nodes, leaves)
    again.push(Merged("x"))
    tree.push(Merged("x"))
    assert again.nodes == tree.nodes


def test_leaves_that_hold_nothing_are_passed_over():
    tree = Tree()
    for summary in (None, Merged("a"), None, None, Merged("b")):
        tree.push(summary)
    assert tree.total().text == "(a b)"
    assert tree.stop == 5


@pytest.fixture
def small_segments(monkeypatch):
    """Segments of 16 rows of 4 columns."""
    monkeypatch.setattr(streamed, "SEGMENT_BYTES", 16 * 4 * 8)


def parts_of(kind, rows, cuts):
    """The rows from cut to cut, each of which but the last begins and ends with a segment."""
    return [kind.part_of(rows.part(start, stop), start // 16, start) for start, stop in pairwise(cuts)]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", range(8))
def test_parts_of_whole_segments_join_into_the_whole(kind, seed, small_segments):
    rng = np.random.default_rng(seed)
    n = int(rng.integers(1, 500))
    X, y, s = random_rows(rng, n=n)
    rows = Rows.read(X, y, s if seed % 2 else None)
    cuts = [min(16 * cut, n) for cut in random_cuts(rng, -(-n // 16))]
    part = joined_in_random_order(rng, parts_of(kind, rows, cuts), Part.join)
    whole = kind.from_part(part)
    streamed_whole = kind.from_arrays(X, y, rows.weights)
    assert whole.n_samples == n
    assert_same_summary(whole, streamed_whole)
    assert_same_summary(kind.from_rows(rows), streamed_whole)


def assert_same_summary(ours, theirs):
    assert ours.layout == theirs.layout
    assert ours.dtype == theirs.dtype
    for name, array in vars(theirs.summary).items():
        np.testing.assert_array_equal(getattr(ours.summary, name), array)


@pytest.mark.parametrize("kind", KINDS)
def test_blocks_are_the_leaves_of_a_tree(kind, rng, small_segments):
    X, y, s = random_rows(rng, n=90)
    cuts = [0, 7, 8, 40, 57, 90]
    parts = [kind.from_arrays(X[start:stop], y[start:stop], s[start:stop]) for start, stop in pairwise(cuts)]
    whole = kind.from_blocks(iter(parts))
    assert whole.n_samples == 90
    summaries = [part.summary for part in parts]
    expected = summaries[0].merge(summaries[1]).merge(summaries[2].merge(summaries[3])).merge(summaries[4])
    for name, array in vars(expected).items():
        np.testing.assert_array_equal(getattr(whole.summary, name), array)
    assert_same_summary(kind.from_blocks(parts[:2]), parts[0].merge(parts[1]))
    assert_same_summary(kind.from_blocks(parts[:1]), parts[0])


@pytest.mark.parametrize("kind", KINDS)
def test_blocks_can_be_updated_and_saved(kind, rng, tmp_path):
    X, y, _ = random_rows(rng, n=60)
    parts = [kind.from_arrays(X[start : start + 20], y[start : start + 20]) for start in (0, 20)]
    whole = kind.from_blocks(parts).update(X[40:], y[40:])
    whole.save(tmp_path / "whole.npz")
    assert_same_summary(kind.load(tmp_path / "whole.npz"), whole)
    assert_same_summary(whole, parts[0].merge(parts[1]).merge(kind.from_arrays(X[40:], y[40:])))
    np.testing.assert_allclose(whole.mean, X.mean(axis=0), rtol=1e-12)
    assert parts[0].n_samples == 20


def test_blocks_without_rows(rng):
    X, y, s = random_rows(rng)
    data = CoMoments.from_arrays(X, y, s)
    assert CoMoments.from_blocks([]).n_samples == 0
    assert CoMoments.from_blocks([CoMoments(), CoMoments()]).n_samples == 0
    assert_same_bits(CoMoments.from_blocks([CoMoments(), data, CoMoments()]), data)
    halves = [CoMoments.from_arrays(X[:50], y[:50], s[:50]), CoMoments.from_arrays(X[50:], y[50:], s[50:])]
    assert_same_bits(CoMoments.from_blocks([halves[0], CoMoments(), halves[1]]), halves[0].merge(halves[1]))


def test_blocks_that_do_not_fit(rng):
    X, y, _ = random_rows(rng)
    data = CoMoments.from_arrays(X, y)
    with pytest.raises(vp.errors.ShapeError, match=r"some rows are X \(n, 2\) and y \(n\); needed is"):
        CoMoments.from_blocks([data, CoMoments.from_arrays(X[:, :2], y)])
    with pytest.raises(TypeError, match="cannot merge a CoMoments with a TSQR"):
        CoMoments.from_blocks([data, TSQR.from_arrays(X, y)])


def test_the_row_of_a_part_is_counted_from_the_first(rng, small_segments):
    X, y, s = random_rows(rng)
    X[70, 1] = np.nan
    rows = Rows.read(X, y, s)
    for first in (0, 64):
        with pytest.raises(vp.errors.NotFiniteError, match="X holds nan at row 70, column 1;"):
            CoMoments.part_of(rows.part(first, 100), first // 16, first)
