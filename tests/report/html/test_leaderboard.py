"""The page of many reports shows all their figures, and sorts and filters them."""

import json
import shutil
import sys

import pytest

from solo_adv.report import merge, read_entry
from solo_adv.report.__main__ import main
from solo_adv.report.html.leaderboard import Row, _panels, leaderboard
from tests.report.html.browser import in_browser  # noqa: F401  a fixture
from tests.report.html.parsed import Page
from tests.report.reports import make_report, measurement

NASTY = "</td><script>alert(1)</script><b x=\"'>"


@pytest.fixture
def entry(tmp_path):
    """A function that writes a report with the given accuracies and reads it as an entry."""

    def write(name, clean, pgd=None, autoattack=None, page=True, linear="robust", **changes):
        figures = [("clean", clean, None), ("PGD-20", pgd, 8), ("AutoAttack", autoattack, 8)]
        report = make_report(
            measurements=[measurement(*f, total=10_000) for f in figures if f[1] is not None],
            pretrain_config={"name": name},
            **changes,
        )
        report.config["linear"] = linear
        report.data["name"] = "cifar10"
        folder = tmp_path / "in" / f"of # {len(list(tmp_path.rglob('report.json')))}"
        folder.mkdir(parents=True)
        (folder / "report.json").write_text(json.dumps(report.to_dict()))
        if page:
            (folder / "report.html").write_text("")
        return read_entry(folder / "report.json")

    return write


@pytest.fixture
def entries(entry):
    return [
        entry("middle", 0.7, 0.3),
        entry("best", 0.8, 0.4, 0.35, alarms=["it <i>cannot</i> be so"]),
        entry("worst", 0.09, 0.1, 0.05, linear="standard"),
        entry("clean only", 0.9, page=False),
    ]


def test_every_figure_and_every_report_is_in_the_table(entries, tmp_path):
    rows = Page(leaderboard(entries, tmp_path)).rows
    head, body = rows[0], rows[1:5]
    labels = ["clean", "PGD-20\nat 8/255", "AutoAttack\nat 8/255"]
    assert head == ["plot", "model", "data", "judged with", *labels, "images", "crop passes"]
    assert [row[4:7] for row in body] == [
        ["70.00", "30.00", ""],
        ["80.00", "40.00", "35.00"],
        ["9.00", "10.00", "5.00"],
        ["90.00", "", ""],
    ]
    assert [row[0] for row in body] == ["A", "B", "C", "D"]
    assert body[1][1].startswith("best alarm")


def test_a_report_with_a_page_is_linked(entries, tmp_path):
    shown = Page(leaderboard(entries, tmp_path / "out"))
    links = [given["href"] for given in shown.all("a") if not given["href"].startswith("https:")]
    assert links == [f"../in/of%20%23%20{number}/report.html" for number in range(3)]


def test_only_sources_are_outside(entries, tmp_path):
    shown = Page(leaderboard(entries, tmp_path))
    sources = {given["href"] for given in shown.all("a")}
    for link in shown.links():
        assert link.startswith("data:") or link in sources
    assert len(leaderboard(entries, tmp_path).encode()) < 100_000


def test_alarms_are_said_and_text_is_no_markup(entry, tmp_path):
    nasty = entry(NASTY, 0.5, 0.2, method=NASTY, alarms=[NASTY], page=False)
    shown = Page(leaderboard([nasty], tmp_path))
    assert len(shown.all("script")) == 1
    assert shown.all("b") == []
    assert shown.text.count("<script>alert(1)</script>") >= 3


def points(shown, kind):
    return [g for tag, g in shown.tags if f"point {kind}" in g.get("class", "") and tag != "g"]


def test_the_plots_have_our_points_and_the_printed_ones_of_the_same_kind(entries, tmp_path):
    shown = Page(leaderboard(entries, tmp_path))
    titles = [t.strip() for t in shown.texts if t.startswith("Trade-off")]
    assert titles == [
        "Trade-off: cifar10, PGD-20 at 8/255",
        "Trade-off: cifar10, AutoAttack at 8/255",
    ]
    assert len(points(shown, "first")) == 3 + 2
    rows = [row for row in shown.rows if len(row) == 5 and row[0].isdecimal()]
    assert len(points(shown, "printed")) == len(rows)
    sources = [row[4] for row in rows]
    assert sources.count("RobustSSL leaderboard, SLF") == 10
    assert sources.count("RobustSSL leaderboard, ALF") == 10
    assert "RobustSSL leaderboard, AFF" not in sources
    links = [given["href"] for given in shown.all("a")]
    assert links.count("https://arxiv.org/abs/2303.01289") == 4  # DynACL and DynACL++, both heads
    assert sum("RobustSSL.github.io" in link for link in links) == 20
    assert ["CF-AMC-SSL, 16 crops, m=3, 10 epochs", "75.78", "27.74"] in [
        [row[1].partition("other tables")[0], *row[2:4]] for row in rows
    ]


def test_few_labels_have_a_plot_of_their_own_without_printed_points(entry, tmp_path):
    few = entry("few", 0.6, 0.2)
    few.report.data["labels"] = {"part": "1%", "seed": 0, "per_class": [50] * 10}
    whole, other = _panels(
        [Row(n, "A", e, None) for n, e in enumerate([entry("all", 0.7, 0.3), few])]
    )
    assert whole.title == "cifar10, PGD-20 at 8/255"
    assert whole.printed
    assert other.title == "cifar10, 1% of the labels, PGD-20 at 8/255"
    assert not other.printed


def test_points_lie_where_their_figures_say(entries, tmp_path):
    shown = Page(leaderboard(entries[:1], tmp_path))
    rows = [row for row in shown.rows if len(row) == 5 and row[0].isdecimal()]
    figures = [(70.0, 30.0), *((float(row[2]), float(row[3])) for row in rows)]
    places = [
        (float(given["cx"]), float(given["cy"]))
        for given in (*points(shown, "first"), *points(shown, "printed"))
    ]
    assert len(places) == len(figures) > 10
    (clean, robust), (x, y) = figures[0], places[0]
    across = (places[1][0] - x) / (figures[1][0] - clean)
    up = (places[1][1] - y) / (figures[1][1] - robust)
    assert across > 0 > up  # y points downwards on the screen
    for (other_clean, other_robust), (other_x, other_y) in zip(figures, places, strict=True):
        assert other_x - x == pytest.approx(across * (other_clean - clean), abs=0.5)
        assert other_y - y == pytest.approx(up * (other_robust - robust), abs=0.5)


def test_without_an_attack_at_8_there_is_no_plot(entry, tmp_path):
    assert Page(leaderboard([entry("alone", 0.9)], tmp_path)).all("svg") == []


def test_command(tmp_path, monkeypatch, capsys, entries):
    page = tmp_path / "new" / "page.html"
    arguments = [tmp_path / "in", "--output", tmp_path / "out", "--html", page]
    monkeypatch.setattr(sys, "argv", ["report", *map(str, arguments)])
    main()
    assert capsys.readouterr().out.rstrip().endswith("page.html")
    assert len(Page(page.read_text()).rows) > 4
    assert not list((tmp_path / "out").glob("*.html"))


def test_missing_pages_are_written_and_linked(tmp_path, monkeypatch, capsys, entries):
    page = tmp_path / "page.html"
    old = {e.file: e.file.with_suffix(".html").exists() for e in entries}
    assert list(old.values()) == [True, True, True, False]
    arguments = [tmp_path / "in", "--output", tmp_path, "--html", page, "--pages"]
    monkeypatch.setattr(sys, "argv", ["report", *map(str, arguments)])
    main()
    new = entries[3].file.with_suffix(".html")
    assert str(new) in capsys.readouterr().out
    assert "clean only" in new.read_text()
    assert entries[0].file.with_suffix(".html").read_text() == ""  # this page was there
    links = [given["href"] for given in Page(page.read_text()).all("a")]
    assert sum(link.startswith("in/") for link in links) == 4


def test_a_page_that_cannot_be_written_is_one_line(tmp_path, monkeypatch, capsys, entries):
    arguments = [tmp_path / "in", "--output", tmp_path, "--html", "/proc/nowhere/page.html"]
    monkeypatch.setattr(sys, "argv", ["report", *map(str, arguments)])
    with pytest.raises(SystemExit) as stop:
        main()
    error = capsys.readouterr().err
    assert (stop.value.code, error.count("\n")) == (2, 1)
    assert "--html" in error


def test_merging_alone_writes_no_page(tmp_path, entries):
    written = merge(entries, tmp_path / "out", quiet=True)
    assert {path.suffix for path in written} == {".md", ".json", ".png"}
    shutil.rmtree(tmp_path / "out")


ORDERS = """
const table = document.getElementById("table");
const names = () => [...table.tBodies[0].rows].filter((row) => !row.hidden)
  .map((row) => row.cells[1].textContent.split(" ")[0]);
const button = (column) => table.tHead.rows[0].cells[column].querySelector("button");
const states = () => [...table.tHead.rows[0].cells].map((cell) => cell.getAttribute("aria-sort"));
const found = {};
const input = document.querySelector("input[type=search]");
const type = (text) => { input.value = text; input.dispatchEvent(new Event("input")); };
found.begin = names();
button(4).click(); found.clean = names(); found.states = states();
button(4).click(); found.reversed = names();
button(6).click(); found.autoattack = names();
button(6).click(); found.autoattackReversed = names();
button(1).click(); found.model = names();
button(1).focus(); found.focused = document.activeElement === button(1);
type("ST r-LE"); found.filtered = names();
const hidden = () => [...document.querySelectorAll("[data-of]")]
  .filter((point) => getComputedStyle(point).display === "none").map((point) => point.dataset.of);
found.hidden = [...new Set(hidden())].sort();
found.count = document.querySelector("[role=status]").textContent;
type("nowhere"); found.none = names();
type(""); found.all = names().length; found.hiddenAtLast = hidden();
found.visible = getComputedStyle(document.querySelector(".controls")).display !== "none";
return found;
"""


def test_sorting_and_filtering_in_a_browser(in_browser, entries, tmp_path):  # noqa: F811
    assert in_browser(leaderboard(entries, tmp_path), ORDERS) == {
        "begin": ["middle", "best", "worst", "clean"],
        "clean": ["clean", "best", "middle", "worst"],
        "states": [*[None] * 4, "descending", *[None] * 4],
        "reversed": ["worst", "middle", "best", "clean"],
        "autoattack": ["best", "worst", "middle", "clean"],
        "autoattackReversed": ["worst", "best", "middle", "clean"],
        "model": ["best", "clean", "middle", "worst"],
        "focused": True,
        "filtered": ["best"],
        "hidden": ["0", "2"],
        "count": "1 of 4",
        "none": [],
        "all": 4,
        "hiddenAtLast": [],
        "visible": True,
    }


def test_only_the_pages_own_script_runs(in_browser, entries, tmp_path):  # noqa: F811
    text = leaderboard(entries, tmp_path)
    injected = "<script>document.body.dataset.injected = 'yes'</script>"
    injected += "<img src='data:,' onerror=\"document.body.dataset.injected = 'yes'\">"
    page = text.replace("<h1>", f"{injected}<h1>")
    ask = "return [document.body.dataset.injected ?? 'no', document.querySelector('button').type]"
    assert in_browser(page, ask) == ["no", "button"]


def test_without_javascript_the_controls_are_hidden_and_the_table_is_whole(entries, tmp_path):
    shown = Page(leaderboard(entries, tmp_path))
    (controls,) = [given for tag, given in shown.tags if given.get("class") == "controls"]
    assert "hidden" in controls
    assert shown.all("button") == []
