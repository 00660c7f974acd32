"""Two runs are compared fairly: by what took turns with ours, so that a busier machine is no loss."""

import copy

import pytest
from vecprod_gpu.bench import compare, tables

from tests.bench.documents import one_row, two_sizes

STEADY = (1.0, 1.01, 0.99)


def times(factor, seconds=STEADY):
    return tuple(factor * one for one in seconds)


def runner(document, name):
    return next(one for one in document["rows"][0]["runners"] if one["name"] == name)


def measures(before, after):
    """How each row that moved was measured, and by how much it moved."""
    return [(move.measure, pytest.approx(move.change)) for move in compare.moves(before, after)]


def test_nothing_moves_within_the_spread():
    found = two_sizes()
    assert compare.moves(found, copy.deepcopy(found)) == []
    assert compare.moves(found, two_sizes(1.02)) == []


@pytest.mark.parametrize(
    ("factor", "change", "now"),
    [(2.0, "2.00x slower", ("2 us", "20 ms")), (0.5, "2.00x faster", ("500 ns", "5 ms"))],
)
def test_what_moves_beyond_the_spread_is_told(factor, change, now):
    moves = compare.moves(two_sizes(), two_sizes(factor))
    assert {move.in_words() for move in moves} == {
        f"cross, 8 vectors: {change} against numpy; 1 us before, {now[0]} now",
        f"cross, 5,000,000 vectors: {change} against the limit; 10 ms before, {now[1]} now",
    }


@pytest.mark.parametrize(
    "runners", [{"ours": 1.0, "numpy": 8.0}, {"ours": 1.0, "numpy": 8.0, "limit_read": 0.9}]
)
def test_a_busier_machine_is_no_loss(runners):
    idle, busy = (
        one_row(**{name: times(load * seconds) for name, seconds in runners.items()}) for load in (1, 2)
    )
    assert compare.moves(idle, busy) == []


def test_load_that_comes_and_goes_within_a_run_is_no_loss():
    bursts = (1.0, 3.0, 2.0)
    before = one_row(ours=STEADY, numpy=times(8))
    assert compare.moves(before, one_row(ours=bursts, numpy=times(8, bursts))) == []


def test_a_loss_is_seen_through_the_load():
    before = one_row(ours=STEADY, limit_read=times(0.5))
    after = one_row(ours=STEADY, limit_read=times(0.25))
    assert measures(before, after) == [("against the limit", 2.0)]


def test_a_limit_is_preferred_to_a_peer():
    before = one_row(ours=STEADY, numpy=times(2), limit_read=times(0.5))
    after = one_row(ours=times(3), numpy=times(2), limit_read=times(0.75))
    assert measures(before, after) == [("against the limit", 2.0)]


def test_the_limit_is_the_fastest_way_of_each_run():
    before = one_row(ours=STEADY, limit_read=times(0.5), limit_torch=times(0.9))
    after = one_row(ours=STEADY, limit_read=times(0.9), limit_torch=times(0.5))
    assert compare.moves(before, after) == []


def test_a_limit_of_one_run_alone_is_no_measure():
    before = one_row(ours=STEADY, limit_read=times(0.5), limit_torch=times(0.1))
    after = one_row(ours=times(2), limit_read=times(0.5))
    assert measures(before, after) == [("against the limit", 2.0)]
    before, after = (
        one_row(ours=STEADY, numpy=times(2), limit_read=STEADY),
        one_row(ours=times(2), numpy=times(2)),
    )
    assert measures(before, after) == [("against numpy", 2.0)]


def test_the_fastest_peer_of_both_runs_is_the_measure():
    before = one_row(ours=STEADY, torch=times(1.1), jax=times(3), numpy=times(8))
    after = one_row(ours=times(2), jax=times(2), numpy=times(8))
    assert measures(before, after) == [("against jax", 3.0)]


@pytest.mark.parametrize("stumbles", ["limit_read", "jax", "numpy"])
@pytest.mark.parametrize("factor", [0.1, 10])
def test_a_runner_that_stumbles_is_no_move_of_ours(stumbles, factor):
    steady = {"ours": STEADY, "limit_read": times(0.5), "jax": times(2), "numpy": times(8)}
    after = steady | {stumbles: times(factor, steady[stumbles])}
    assert compare.moves(one_row(**steady), one_row(**after)) == []
    assert compare.moves(one_row(**after), one_row(**steady)) == []


@pytest.mark.parametrize("wrong_in", [0, 1])
def test_a_wrong_peer_is_no_measure(wrong_in):
    runs = [one_row(ours=times(factor), torch=times(1.1), numpy=times(8)) for factor in (1, 2)]
    runner(runs[wrong_in], "torch")["is_wrong"] = True
    assert measures(*runs) == [("against numpy", 2.0)]


def test_other_ways_of_ours_are_no_measure():
    runs = [one_row(**{"ours": times(factor), "ours, fused": times(factor)}) for factor in (1, 2)]
    assert measures(*runs) == [("by the clock alone", 2.0)]


def test_without_limit_or_peer_the_time_is_the_measure():
    assert measures(one_row(ours=STEADY), one_row(ours=times(2))) == [("by the clock alone", 2.0)]


def test_the_spread_of_the_ratios_counts():
    before = one_row(ours=STEADY, numpy=(8.0, 4.0, 12.0))
    assert compare.moves(before, one_row(ours=times(1.2), numpy=(8.0, 4.0, 12.0))) == []
    assert measures(before, one_row(ours=times(5), numpy=(8.0, 4.0, 12.0))) == [("against numpy", 5.0)]


def test_a_small_change_is_not_told_however_tight_the_spread():
    same = (1.0, 1.0, 1.0)
    least = compare.LEAST_CHANGE
    assert compare.moves(one_row(ours=same), one_row(ours=times(0.999 * least, same))) == []
    assert len(compare.moves(one_row(ours=same), one_row(ours=times(1.001 * least, same)))) == 1


def test_without_a_spread_nothing_can_lie_beyond_it(capsys):
    few = (1.0,) * (compare.LEAST_TURNS - 1)
    before, after = one_row(ours=STEADY), one_row(ours=times(5, few))
    assert compare.moves(before, after) == compare.moves(after, before) == []
    tables.show_moves(before, after, [])
    assert "1 rows are in both runs, 1 with too few turns to be compared" in capsys.readouterr().out


def test_what_got_slowest_comes_first():
    before, after = two_sizes(), two_sizes(0.5)
    after["rows"][1] = two_sizes(3.0)["rows"][1]
    assert [move.is_slower for move in compare.moves(before, after)] == [True, False]


def test_rows_of_one_run_alone_are_passed_over(capsys):
    before, after = two_sizes(), two_sizes(2.0)
    del after["rows"][0]
    after["rows"][0]["name"] = "another size"
    assert compare.moves(before, after) == []
    tables.show_moves(before, after, [])
    assert "0 rows are in both runs; nothing moved" in capsys.readouterr().out


def test_rows_of_another_device_are_passed_over():
    before, after = two_sizes(), two_sizes(2.0)
    after["device"] = "cuda"
    assert compare.moves(before, after) == []
    assert "another device: cpu before, cuda now" in compare.circumstances(before, after)


@pytest.mark.parametrize(("key", "told"), [("cpu", "CPU"), ("cores", "number of cores"), ("gpu", "GPU")])
def test_another_machine_is_told(key, told, capsys):
    before = two_sizes()
    before["machine"]["gpu"] = "an older GPU"
    after = copy.deepcopy(before)
    after["machine"][key] = "abacus"
    tables.show_moves(before, after, [])
    printed = " ".join(capsys.readouterr().out.split())
    assert f"another {told}: {before['machine'][key]} before, abacus now" in printed
    assert "as before" not in printed


def test_the_same_machine_is_told():
    before = two_sizes()
    (line,) = compare.circumstances(before, copy.deepcopy(before))
    assert line.startswith("the machine as before: device cpu, CPU ")


def test_other_versions_and_threads_are_told_but_no_new_ones():
    before = two_sizes()
    before.update(versions={"torch": "2.12", "jax": "0.10"}, threads={"torch": 1})
    after = copy.deepcopy(before)
    after.update(versions={"torch": "2.13", "numexpr": "2.14"}, threads={"torch": 2, "jax": 2})
    assert compare.circumstances(before, after)[1:] == [
        "another torch: 2.12 before, 2.13 now",
        "another number of threads of torch: 1 before, 2 now",
    ]
