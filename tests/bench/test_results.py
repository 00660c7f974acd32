"""Results outlive the run: as JSON, as tables, as pictures and as a page."""

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from vecprod_gpu.bench import bars, compare, plots, report, results, tables
from vecprod_gpu.bench.bars import Bar, judge
from vecprod_gpu.bench.race import Timing

from tests.bench.documents import race, two_sizes
from vecprod_gpu.errors import BadInputError

SAMPLE = Path(__file__).parent / "sample.json"
PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"


@pytest.fixture
def found():
    return two_sizes()


# --- Bars ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("bar", "got", "is_met"),
    [
        (Bar("limit", 0.8), 0.8, True),
        (Bar("limit", 0.81), 0.8, False),
        (Bar("peer", 2.0, "torch"), 2.0, True),
        (Bar("peer", 2.0, bars.EVERY_PEER), 1.5, False),
        (Bar("peer", 2.0, "cupy"), None, None),
        (Bar("cost", 0.5, "torch"), 0.5, True),
        (Bar("cost", 1.15, "ours, one"), 2.0, False),
        (Bar("seconds", 1.0), 1.0, True),
        (Bar("seconds", 0.9), 1.0, False),
    ],
)
def test_a_bar_is_held_against_the_fastest_that_counts(bar, got, is_met):
    others = {"torch": (2.0,), "torch, out=": (3.0,), "numpy": (1.5,), "ours, one": (0.5,)}
    found = race(ours=(1.0,), limit_read=(0.8,), limit_torch=(0.9,), **others)
    verdict = judge(bar, found)
    assert verdict.got == (None if got is None else pytest.approx(got))
    assert verdict.is_met is is_met


def test_a_wrong_answer_of_ours_reaches_no_bar_and_a_peers_does_not_count():
    found = race(ours=(1.0,), torch=(0.1,), numpy=(2.0,))
    found.timings["torch"] = Timing((0.1,), 1.0, is_wrong=True)
    assert judge(Bar("peer", 2.0, bars.EVERY_PEER), found).is_met
    found.timings["ours"] = Timing((1.0,), 1.0, is_wrong=True)
    for bar in (Bar("peer", 0.1, "numpy"), Bar("cost", 100.0, "numpy"), Bar("seconds", 100.0)):
        assert judge(bar, found).is_met is False


def test_a_race_without_a_limit_leaves_its_bar_untold():
    assert judge(Bar("limit", 0.9), race()).is_met is None


# --- JSON ------------------------------------------------------------------------------------------


def test_results_come_back_as_they_were(found, tmp_path):
    results.save(found, tmp_path / "results.json")
    assert results.load(tmp_path / "results.json") == found


def test_a_document_holds_what_its_schema_names(found):
    named = set(re.findall(r"^ {4}(\w+) ", results.__doc__, re.MULTILINE))
    assert set(found) == named - {"name"}
    in_rows = re.findall(r"^ {8}(\w[\w, ]*?)  ", results.__doc__, re.MULTILINE)
    assert set(found["rows"][0]) == {name for words in in_rows for name in words.split(", ")}
    in_runners = set(re.findall(r"^ {12}(\w+) ", results.__doc__, re.MULTILINE))
    assert set(found["rows"][0]["runners"][0]) == in_runners


def test_what_is_not_finite_is_null(tmp_path):
    nan = race(ours=(1.0,))
    nan.timings["ours"] = Timing((1.0,), float("nan"), is_wrong=True)
    assert results._runner(nan, "ours")["error"] is None
    assert results._bar(judge(Bar("seconds", 1.0), nan))["got"] is None


@pytest.mark.parametrize("text", ["{", "[]", '{"schema": 0}', "{}"])
def test_what_holds_no_results_is_refused(text, tmp_path):
    (tmp_path / "other.json").write_text(text)
    with pytest.raises(BadInputError, match=r"other\.json"):
        results.load(tmp_path / "other.json")


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(BadInputError, match=r"none\.json"):
        results.load(tmp_path / "none.json")


# --- Tables ----------------------------------------------------------------------------------------


def test_the_table_tells_times_ratios_and_bars(found, capsys):
    tables.show(found)
    printed = capsys.readouterr().out
    for words in ("cross, 5,000,000 vectors", "10 ms", "numpy 1.5x", "0.90", "1 of 3 bars met", "18"):
        assert words in printed
    assert "jax is missing: ModuleNotFoundError" in printed
    assert "met 8x numpy" in " ".join(printed.split())


def test_a_wrong_answer_stands_out(found, capsys):
    found["rows"][0]["runners"][1].update(is_wrong=True, error=None)
    tables.show(found)
    printed = " ".join(capsys.readouterr().out.split())
    assert "WRONG by what is not finite" in printed
    assert "WRONG: numpy in cross, 8 vectors" in printed


def test_markdown_is_a_table_of_every_row(found):
    lines = tables.markdown(found).splitlines()
    table = [line for line in lines if line.startswith("|")]
    assert len(table) == 2 + len(found["rows"])
    assert {line.count("|") for line in table} == {6}
    assert "| cross, 8 vectors | 1 us |  | numpy 8x |" in table[2]


# --- Plots and the report --------------------------------------------------------------------------


class Page(HTMLParser):
    """Counts elements, and keeps whatever the page would fetch from elsewhere."""

    def __init__(self, text):
        super().__init__()
        self.counts, self.fetched = {}, []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.counts[tag] = self.counts.get(tag, 0) + 1
        self.fetched += [value for name, value in attributes if name in ("src", "href") and tag != "a"]


def is_inside(address):
    return address.startswith("#")


def test_the_folder_holds_results_plots_and_one_page(found, tmp_path):
    report.write(found, tmp_path / "new" / "folder")
    files = {path.name: path for path in (tmp_path / "new" / "folder").iterdir()}
    assert set(files) == {
        *("results.json", "report.html"),
        *("curves.png", "curves.svg", "traffic.png", "traffic.svg"),
    }
    assert files["curves.png"].read_bytes().startswith(PNG_SIGNATURE)
    assert "<svg" in files["traffic.svg"].read_text()
    assert results.load(files["results.json"]) == found
    page = Page(files["report.html"].read_text())
    assert page.counts["svg"] == 2
    assert all(map(is_inside, (address for address in page.fetched if "www.w3.org" not in address)))
    assert page.counts["tr"] == 1 + 2 + len(found["machine"]) + 6


def test_the_page_escapes_what_it_is_told(found):
    found["rows"][0]["name"] = "<script>alert(1)</script>"
    found["versions"]["numpy"] = "<b>"
    text = report.page(found, [])
    assert "<script>" not in text
    assert "<b>" not in text


def test_curves_run_along_the_size(found):
    found["rows"].reverse()
    (rows,) = plots.curves(found).values()
    assert [row["sizes"]["count"] for row in rows] == [8, 5_000_000]


def test_a_topic_of_one_size_has_no_curve(found):
    del found["rows"][0]
    assert plots.curves(found) == {}
    assert [name for name, _ in plots.figures(found)] == ["traffic"]


def test_rows_that_move_nothing_have_no_traffic(found):
    for row in found["rows"]:
        row.update(moved=0, along="")
    assert list(plots.figures(found)) == []


def test_a_kept_sample_is_still_read(tmp_path):
    sample = results.load(SAMPLE)
    report.write(sample, tmp_path)
    assert sample["device"] == "cuda"
    assert all(row["name"] in (tmp_path / "report.html").read_text() for row in sample["rows"])
    assert compare.moves(sample, sample) == []
