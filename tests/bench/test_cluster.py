"""The costs of a fit on a cluster, on paper."""

import pytest

from bench.cluster import SIZES, Rates, cost, duration, main, size
from tests.test_readme import blocks, section


def test_the_readme_quotes_the_program(capsys):
    main([])
    assert blocks("text", section("On a cluster")) == [capsys.readouterr().out]


def test_rates_can_be_given(capsys):
    main([])
    before = capsys.readouterr().out
    main(["--compute", "5e9", "--disk", "5e9", "--columns", "10"])
    assert capsys.readouterr().out != before


@pytest.mark.parametrize("nbytes", SIZES)
def test_one_worker_reads_at_its_own_rate_and_sends_nothing(nbytes):
    its = cost(nbytes, 1, Rates(compute=1e9, disk=2e9))
    assert its.read == nbytes
    assert its.sent == 0
    assert nbytes / 1e9 <= its.seconds <= nbytes / 1e9 * 1.001 + 0.2


def test_the_storage_is_shared():
    rates = Rates(compute=1e9, disk=1e9, storage=10e9, latency=0)
    few, many = cost(10**12, 10, rates), cost(10**12, 500, rates)
    assert few.seconds == pytest.approx(many.seconds, rel=0.05)


def test_chunks_limit_the_workers():
    rates = Rates()
    assert cost(10**9, 8, rates) == cost(10**9, 1000, rates)


def test_each_summary_is_sent_once():
    rates = Rates(columns=10, chunk=10**6)
    assert cost(64 * 10**6, 4, rates).sent == 8 * (1 + 10 + 100) * (64 + 8 + 1)


def test_words():
    assert [size(n) for n in (0, 999, 10**9, 722_000_000, 10**15)] == [
        "0 B",
        "999 B",
        "1 GB",
        "722 MB",
        "1 PB",
    ]
    assert [duration(s) for s in (0.5, 130, 7200, 200_000)] == ["0.5 s", "2.17 min", "2 h", "2.31 d"]
