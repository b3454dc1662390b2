"""A page loads nothing, shows data as text, is the same every time, and is as good as Markdown."""

import base64
import io
import json
import re
from dataclasses import replace
from html import unescape
from pathlib import Path

import pandas as pd
import pytest

from centaurlab.catalog.tables import study_domains
from centaurlab.reporting import write_report
from centaurlab.stats.estimate import Estimate
from helpers.browser import CHROMIUM, dom
from helpers.effect_rows import effects_of
from helpers.finished_runs import effect_run, score_run
from helpers.json_files import run_json, write_json
from helpers.report_pages import Page

EVIL = "<script>document.title='owned'</script>|_x_ & \"quoted\""


WORSE = f"</dd></pre></style>{EVIL}' onload='x' <img src=x onerror=\"document.title='owned'\"> <svg onload=alert(1)>"


def test_the_page_loads_nothing(page: Page) -> None:
    assert page.addresses
    for _, address in page.addresses:
        assert address.startswith(("data:image/svg+xml;base64,", "data:image/png;base64,", "#")), address[:80]
    style = page.source.partition("<style>")[2].partition("</style>")[0]
    assert "url(" not in style
    assert "@import" not in style
    assert not {"link", "iframe", "object", "embed"} & set(page.elements)
    assert "fetch(" not in page.source
    for _, address in page.addresses:
        if address.startswith("data:image/svg"):
            svg = base64.b64decode(address.partition(",")[2]).decode()
            assert re.findall(r'(?:href|src)="(?!#)([^"]*)"', svg) == []


def test_the_same_runs_give_the_same_page(page: Page, runs: dict[str, Path], tmp_path: Path) -> None:
    write_report(list(runs.values()), tmp_path / "again.html", "html")
    assert (tmp_path / "again.html").read_text() == page.source


@pytest.fixture
def hostile(tmp_path: Path) -> Path:
    """A report on a study, a model and data with names that are programs, as are a note on a transcript, the command
    and the machine; also in a table of another job."""
    scores = [score_run(tmp_path / "<img src=x onerror=alert(1)>", EVIL, [EVIL, "b2021"], data=WORSE)]
    known = run_json(scores[0])
    known["data"]["notes"] = [f"skipped data.jsonl:3: unclosed '<<' on line 1 of the text: {WORSE!r}"]
    known["command"] += ["--run_name", WORSE]
    known["hardware"]["platform"] = known["git"]["commit"] = WORSE
    write_json(scores[0] / "run.json", known)
    run = effect_run(tmp_path / "run", effects_of([EVIL, "b2021"], Estimate(0.1, -0.1, 0.3), group_name=EVIL), scores)
    pd.DataFrame({"what": [EVIL], EVIL: [1.5]}).to_csv(run / "diagnosis.csv", index=False)
    write_report([run, *scores], tmp_path / "report.html", "html")
    return tmp_path / "report.html"


def test_data_is_shown_as_text(hostile: Path) -> None:
    page = Page(hostile)
    assert page.elements.count("script") == 1, "the one that sorts"
    assert page.table("study", "difference (nats)").rows[0][0][0] == EVIL
    assert page.table("what").head[1] == EVIL.replace("_", " ")
    assert "<script>document" not in page.source
    assert " ".join(page.text).count(WORSE) >= 4, "data, note, machine, commit"
    assert not page.handlers
    assert page.elements.count("img") + page.source.count('<div class="chart"') == page.elements.count("figure")


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
def test_in_a_browser_data_runs_nothing_and_a_click_sorts(hostile: Path, tmp_path: Path) -> None:
    click = "<script>document.querySelectorAll('table')[0].querySelectorAll('th button')[1].click()</script></body>"
    hostile.write_text(hostile.read_text().replace("</body>", click))
    (tmp_path / "dom.html").write_text(dom(hostile, tmp_path / "profile"))
    page = Page(tmp_path / "dom.html")
    assert "<title>owned" not in page.source
    assert page.elements.count("script") == 2, "the one that sorts, and the click"
    assert not page.handlers
    assert any(WORSE in text for text in page.text)
    sorted_table = page.tables[0]
    keys = [float(row[1][1] or "nan") for row in sorted_table.rows[:-1]]
    assert keys == sorted(keys)
    assert len(keys) == 2
    assert 'aria-sort="ascending"' in page.source


USE = """
<script>
const seen = {}, saved = [];
URL.createObjectURL = blob => { saved.push(blob); return "#"; };
const dot = document.querySelector(".mark[data-row] .hit");
dot.dispatchEvent(new MouseEvent("click", {bubbles: true}));
const found = document.querySelector("tr.found");
seen.clicked = dot.parentElement.querySelector("title").textContent;
seen.row = found.cells[0].textContent;
seen.unfolded = found.closest("details").open;
const chart = document.querySelector(".chart");
const lines = [...chart.querySelectorAll(".row:not(.summary):not(.axis)"), ...found.closest("tbody").rows];
const rows = () => lines.filter(row => !row.hidden);
const search = document.querySelector(".search"), domain = document.querySelector(".domain");
const first = what => what.matches("tr") ? what.cells[0].textContent : what.querySelector(".name").textContent.trim();
seen.all = rows().map(first);
domain.value = "Memory"; domain.dispatchEvent(new Event("change"));
seen.memory = rows().map(first);
domain.value = ""; domain.dispatchEvent(new Event("change"));
search.value = "ENKAVI"; search.dispatchEvent(new Event("input"));
seen.searched = rows().map(first);
search.value = ""; search.dispatchEvent(new Event("input"));
document.querySelector(".csv").click();
document.querySelector(".json").click();
document.querySelector("tr.found").closest("table").querySelectorAll("th button")[1].click();
seen.sorted = [...document.querySelector("tr.found").closest("tbody").rows].map(row => +row.cells[1].dataset.value);
Promise.all(saved.map(blob => blob.text())).then(texts => {
  seen.csv = texts[0]; seen.json = JSON.parse(texts[1]);
  const told = document.createElement("pre");
  told.id = "seen"; told.textContent = JSON.stringify(seen);
  document.body.append(told);
});
</script></body>
"""


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
def test_in_a_browser_a_dot_leads_to_its_row_domains_filter_and_tables_are_saved(tmp_path: Path) -> None:
    of_domain = {study: "Memory" in domains for study, domains in study_domains().items() if domains}
    studies = [s for s, is_of in of_domain.items() if is_of][:2] + [s for s, is_of in of_domain.items() if not is_of][
        :3
    ]
    effects = [
        replace(effect, d=Estimate(-i / 7, -1.5, 0.5), nll_difference=Estimate(-i / 3, -4.0, 1.0))
        for i, effect in enumerate(effects_of(studies, Estimate(0.4, 0.1, 0.7)))
    ]
    run = effect_run(tmp_path / "run", effects, [])
    write_report([run], tmp_path / "report.html", "html")
    page = tmp_path / "report.html"
    page.write_text(page.read_text().replace("</body>", USE.replace("ENKAVI", studies[0].upper())))
    told = dom(page, tmp_path / "profile").partition('<pre id="seen">')[2].partition("</pre>")[0]
    seen = json.loads(unescape(told))
    assert seen["clicked"].startswith(f"{seen['row']}: ")
    assert seen["unfolded"]
    assert sorted(seen["all"]) == sorted(studies * 2), "chart and table"
    assert sorted(seen["memory"]) == sorted(studies[:2] * 2)
    assert set(seen["searched"]) == {studies[0]}
    assert seen["sorted"] == sorted(seen["sorted"])
    assert len(set(seen["sorted"])) == len(studies)
    saved = pd.read_csv(io.StringIO(seen["csv"])).set_index("study")
    expected = {effect.name: effect.d.value for effect in effects if effect.level == "study"}
    assert {study: saved["d"][study] for study in studies} == expected, "with all digits"
    assert seen["json"]["tables"][0]["columns"][0] == "study"


def test_markdown_has_the_same_content(page: Page, runs: dict[str, Path], tmp_path: Path) -> None:
    output = tmp_path / "my report.md"
    write_report(list(runs.values()), output, "markdown")
    text = output.read_text()
    for table in page.tables:
        for row in table.rows:
            assert "| " + " | ".join(cell for cell, _ in row) + " |" in text
    assert "predicted worse by post than by base (difference = +0.800 nats (+1.154 bits) per response" in text
    assert "python eval/misalignment.py --base 'a b' --post c" in text
    figures = re.findall(r"!\[[^\]]*\]\(([^)]+)\)", text)
    assert len(figures) == page.elements.count("figure")
    assert all((tmp_path / name.replace("%20", " ")).read_bytes() for name in figures)


def test_markdown_keeps_data_in_its_cell(tmp_path: Path) -> None:
    run = effect_run(tmp_path / "run", effects_of([EVIL, "b2021"], Estimate(0.1, -0.1, 0.3)), [])
    write_report([run], tmp_path / "report.md", "markdown")
    lines = [line for line in (tmp_path / "report.md").read_text().splitlines() if "owned" in line]
    assert all("<script" not in line for line in lines)
    (row,) = [line for line in lines if line.startswith("| ")]
    assert len(re.findall(r"(?<!\\)\|", row)) == 20, "nineteen columns"
