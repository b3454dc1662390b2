"""A page loads nothing, shows data as text, is the same every time, and is as good as Markdown."""

import base64
import re
import shutil
import subprocess
from pathlib import Path

import pandas as pd
import pytest

from centaurlab.reporting import write_report
from centaurlab.stats.estimate import Estimate
from helpers.effect_rows import effects_of
from helpers.finished_runs import effect_run, score_run
from helpers.json_files import run_json, write_json
from helpers.report_pages import Page

EVIL = "<script>document.title='owned'</script>|_x_ & \"quoted\""


WORSE = f"</dd></pre></style>{EVIL}' onload='x' <img src=x onerror=\"document.title='owned'\"> <svg onload=alert(1)>"


CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


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
    assert "svg" not in page.elements
    assert page.elements.count("img") == page.elements.count("figure")


def dom(page: Path, folder: Path) -> str:
    arguments = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={folder}", "--dump-dom"]
    done = subprocess.run(
        [*map(str, arguments), page.as_uri()], capture_output=True, text=True, timeout=120, check=True
    )
    return done.stdout


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
def test_in_a_browser_data_runs_nothing_and_a_click_sorts(hostile: Path, tmp_path: Path) -> None:
    click = "<script>document.querySelectorAll('table')[1].querySelectorAll('th button')[1].click()</script></body>"
    hostile.write_text(hostile.read_text().replace("</body>", click))
    (tmp_path / "dom.html").write_text(dom(hostile, tmp_path / "profile"))
    page = Page(tmp_path / "dom.html")
    assert "<title>owned" not in page.source
    assert page.elements.count("script") == 2, "the one that sorts, and the click"
    assert page.elements.count("img") == page.elements.count("figure")
    assert any(WORSE in text for text in page.text)
    sorted_table = page.tables[1]
    keys = [float(row[1][1] or "nan") for row in sorted_table.rows[:-1]]
    assert keys == sorted(keys)
    assert len(keys) == 2
    assert 'aria-sort="ascending"' in page.source


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
    assert len(re.findall(r"(?<!\\)\|", row)) == 19, "eighteen columns"
