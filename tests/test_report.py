"""A report says what its runs found: read back, its tables are theirs; nothing is loaded; data stays text."""

import base64
import json
import re
import shutil
import subprocess
import sys
from dataclasses import asdict, dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from centaurlab.cli import main as cli
from centaurlab.reporting import write_report
from centaurlab.runtime.errors import UserError
from centaurlab.stats.effect_table import effects_table, read_effects
from centaurlab.stats.effects import Effect
from centaurlab.stats.estimate import Estimate
from helpers.effect_rows import effect, effects_of, write_effects

EVIL = "<script>document.title='owned'</script>|_x_ & \"quoted\""
WORSE = f"</dd></pre></style>{EVIL}' onload='x' <img src=x onerror=\"document.title='owned'\"> <svg onload=alert(1)>"
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@dataclass
class Table:
    head: list[str] = field(default_factory=list)
    rows: list[list[tuple[str, str | None]]] = field(default_factory=list)

    def column(self, number: int) -> dict[str, str]:
        """Text of the first column to sort key of another."""
        return {row[0][0]: row[number][1] or "" for row in self.rows}


class Page(HTMLParser):
    """A parsed page: its tables with sort keys, its text, every address in it, and its elements."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.tables: list[Table] = []
        self.text: list[str] = []
        self.addresses: list[tuple[str, str]] = []
        self.elements: list[str] = []
        self._cell: list[str] | None = None
        self.source = path.read_text(encoding="utf-8")
        self.feed(self.source)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append(tag)
        values = dict(attrs)
        self.addresses += [(n, v or "") for n, v in attrs if n in ("src", "href", "srcset", "action", "data", "poster")]
        if tag == "table":
            self.tables.append(Table())
        elif tag == "tr":
            self.tables[-1].rows.append([])
        elif tag in ("td", "th"):
            self._cell, self._key = [], values.get("data-value")

    def handle_endtag(self, tag: str) -> None:
        if tag in ("td", "th") and self._cell is not None:
            text = "".join(self._cell).strip()
            if tag == "th":
                self.tables[-1].head.append(text)
            else:
                self.tables[-1].rows[-1].append((text, self._key))
            self._cell = None
        elif tag == "thead":
            self.tables[-1].rows.clear()

    def handle_data(self, data: str) -> None:
        if self.elements and self.elements[-1] not in ("style", "script"):
            self.text.append(data)
        if self._cell is not None:
            self._cell.append(data)


def write_json(path: Path, content: Any) -> None:
    path.write_text(json.dumps(content))


def about(job: str, *command: str) -> dict[str, Any]:
    return {
        "job": job,
        "centaurlab": "9.9",
        "versions": {"python": "3.11.0", "torch": "2.13.0"},
        "git": {"commit": "c0ffee", "dirty": False},
        "hardware": {"platform": "Linux", "cpus": 2, "memory_bytes": 2**34, "gpus": []},
        "command": list(command),
        "time": "2026-01-01T00:00:00+00:00",
    }


def score_run(folder: Path, model: str, studies: list[str], seed: int = 0, data: str = "people") -> Path:
    """A finished run of eval/score.py: five people in each study answer four times."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(seed)
    rows = [(study, "e", str(p), r) for study in studies for p in range(5) for r in range(4)]
    table = pd.DataFrame(rows, columns=["study", "experiment", "participant", "response"])
    table["nll"] = rng.gamma(2, 1, len(table)).astype(np.float32)
    table["greedy_correct"] = pd.array(rng.integers(0, 2, len(table)) > 0, dtype="boolean")
    pq.write_table(pa.Table.from_pandas(table), folder / "scores.parquet")
    nll = table.groupby("study")["nll"].mean()
    covered = {"responses": 20, "scored": 20, "cut": 0, "empty": 0, "malformed": 0, "straddling": 0, "failed": 3}
    known = about("score", "/somewhere/eval/score.py", "--model_name_or_path", model)
    known |= {
        "model": {"name": model, "fingerprint": f"f{seed}", "dtype": "bfloat16", "adapter": None},
        "protocol": {"name": "full", "max_tokens": 2048},
        "coverage": dict.fromkeys(studies, covered),
        "nll_mean": float(nll.mean()),
        "data": {
            "name": data,
            "fingerprint": f"data {data}",
            "notes": [],
            "studies": {s: {"fingerprint": f"{data}-{s}", "sessions": 5, "nll": float(nll[s])} for s in studies},
        },
    }
    write_json(folder / "run.json", known)
    write_json(folder / "config.json", {"data": data})
    return folder


def effect_run(folder: Path, effects: list[Effect], scores: list[Path]) -> Path:
    folder.mkdir(parents=True)
    write_effects(folder, effects)
    models = []
    for path in scores:
        known = json.loads((path / "run.json").read_text())
        models.append({"folder": str(path), "protocol": known["protocol"]} | known["model"])
    known = about("misalignment", "eval/misalignment.py", "--base", "a b", "--post", "c")
    known |= {"models": models, "bootstrap": {"resamples": 2000, "seed": 0, "confidence": 0.95}}
    known |= {"overall": asdict(effects[0]), "data": {"name": "people", "fingerprint": "data people"}}
    write_json(folder / "run.json", known)
    write_json(folder / "config.json", {"base": "a b", "post": "c"})
    return folder


def gain_run(folder: Path) -> Path:
    folder.mkdir(parents=True)
    gains = [
        {"kind": kind, "study": study, "participants": 5, "responses": 20, "nll_base": 2.0, "nll_centaur": 1.5}
        | {"d": d, "d_low": d - 0.1, "d_high": d + 0.1, "nll_uniform": 0.7, "nll_marginal": marginal}
        for kind, study, d, marginal in [("held_out", "a2020", 0.4, 1.9), ("novel", "b2021", 0.05, None)]
    ]
    over_studies = {"d_sem": 0.03, "improved": 0.75}
    summaries = [
        {"kind": "held_out", "studies": 4, "d": 0.4, "d_low": 0.3, "d_high": 0.5} | over_studies,
        {"kind": "novel", "studies": 3, "d": 0.05, "d_low": -0.05, "d_high": 0.15} | over_studies,
    ]
    known = about("generalisation", "eval/generalisation.py") | {"studies": gains, "summaries": summaries}
    write_json(folder / "run.json", known)
    write_json(folder / "config.json", {"base": "org/base", "adapter": "runs/centaur", "data": "people"})
    pd.DataFrame(gains).to_csv(folder / "studies.csv", index=False)
    return folder


def training_run(folder: Path) -> Path:
    folder.mkdir(parents=True)
    held_out = {"study": "a2020", "participants": 4, "responses": 52, "nll_base": 1.25, "nll": 1.0}
    held_out |= {"change": -0.2, "change_low": -0.3, "change_high": -0.1}
    known = about("train", "recipes/centaur.py") | {"steps": 30, "studies": ["a2020"], "novel_studies": ["b2021"]}
    known |= {"held_out": [held_out], "data": "starter", "notes": []}
    known |= {"base": {"name": "org/base", "fingerprint": "f0", "dtype": "bfloat16", "adapter": None}}
    write_json(folder / "run.json", known)
    write_json(folder / "config.json", {})
    lines = [{"time": 0, "step": step, "train/loss": 3 / step} for step in range(1, 31)]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("runs")
    studies = ["a2020", "b2021", "c2022"]
    scores = [score_run(folder / f"s{i}", f"org/model{i}", studies, i) for i in range(2)]
    found = {f"score{i}": path for i, path in enumerate(scores)}
    found["effect"] = effect_run(folder / "effect", effects_of(studies, Estimate(0.4, 0.1, 0.7)), scores)
    found["gain"] = gain_run(folder / "gain")
    found["train"] = training_run(folder / "train")
    return found


@pytest.fixture(scope="module")
def page(runs: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Page:
    output = tmp_path_factory.mktemp("report") / "report.html"
    write_report(list(runs.values()), output, "html")
    return Page(output)


def table_of(page: Page, *head: str) -> Table:
    (found,) = [table for table in page.tables if tuple(table.head[: len(head)]) == head]
    return found


def test_effects_are_read_as_they_were_written(tmp_path: Path) -> None:
    effects = effects_of(["a2020", "NA"], Estimate(0.4, 0.1, 0.7))
    write_effects(tmp_path, effects)
    assert read_effects(tmp_path) == effects
    (tmp_path / "effects.parquet").write_bytes(b"PAR1 no more")
    with pytest.raises(UserError, match="missing or damaged"):
        read_effects(tmp_path)


def test_the_table_of_studies_is_the_effects_table(page: Page, runs: dict[str, Path]) -> None:
    shown = table_of(page, "study", "d", "95 % interval", "paired d")
    effects = effects_table(read_effects(runs["effect"])).query("level != 'domain'").set_index("name")
    assert shown.column(1).keys() == set(effects.index)
    for name, row in effects.iterrows():
        cells = next(cells for cells in shown.rows if cells[0][0] == name)
        keys = [float(number) for _, key in cells[1:] for number in (key or "").split()]
        expected = ["d", "d_low", "d_high", "d_paired", "d_paired_low", "d_paired_high"]
        expected += ["nll_base", "nll_post", "n_responses", "n_participants"]
        assert keys == [row[column] for column in expected]
        assert cells[1][0] == f"{row['d']:+.3f}"


def test_the_mean_over_studies_ends_the_table(page: Page) -> None:
    assert table_of(page, "study", "d", "95 % interval", "paired d").rows[-1][0][0] == "all studies"


def test_the_nll_of_each_study_is_that_of_the_run(page: Page, runs: dict[str, Path]) -> None:
    found = [table for table in page.tables if table.head[:2] == ["study", "NLL"] and "accuracy" in table.head]
    for table, path in zip(found, (runs["score0"], runs["score1"]), strict=True):
        known = json.loads((path / "run.json").read_text())
        expected = {study: values["nll"] for study, values in known["data"]["studies"].items()}
        read = {name: float(key) for name, key in table.column(1).items()}
        assert read == pytest.approx(expected | {"all studies": known["nll_mean"]}, abs=1e-6)


def test_coverage_counts_every_response(page: Page) -> None:
    shown = [table for table in page.tables if "malformed" in table.head]
    assert len(shown) == 2, "one for the scores, one for the comparison: equal for both models"
    assert all(table.column(2)["all studies"] == "60" for table in shown)
    assert all(table.column(table.head.index("failed"))["all studies"] == "9" for table in shown)


def test_the_answer_says_which_way_is_worse(page: Page) -> None:
    text = " ".join(page.text)
    assert (
        "people are predicted worse by post than by base (d = +0.400, 95 % interval +0.100 to +0.700, which excludes "
        "zero)" in text
    )
    assert "people are predicted worse by base than by centaur (d = +0.400, 95 % interval +0.300 to +0.500" in text
    assert "fell in 1 of 1 studies and rose in none" in text


@pytest.mark.parametrize(("low", "high"), [(-0.1, 0.3), (0.0, 0.3)])
def test_an_interval_that_includes_zero_tells_nothing_apart(tmp_path: Path, low: float, high: float) -> None:
    run = effect_run(tmp_path / "run", effects_of(["a2020", "b2021"], Estimate(0.1, low, high)), [])
    (section,) = write_report([run], tmp_path / "report.html", "html")
    (answer,) = section.answers
    assert "no clear difference" in answer
    assert "do not tell the two sides apart" in " ".join(section.explanation)


def test_an_interval_that_does_not_exist_is_not_claimed(tmp_path: Path) -> None:
    effects = [effect("all studies", Estimate(0.1), "overall"), effect("a2020", Estimate(0.1))]
    (section,) = write_report([effect_run(tmp_path / "run", effects, [])], tmp_path / "report.html", "html")
    assert "no interval" in section.answers[0]
    assert "zero" not in section.answers[0]


def test_bounds_that_say_nothing_stay_short(tmp_path: Path) -> None:
    effects = effects_of(["a2020", "b2021"], Estimate(0.1, -1234567, 99.5))
    write_report([effect_run(tmp_path / "run", effects, [])], tmp_path / "report.md", "markdown")
    assert "-1,235,000 to +100" in (tmp_path / "report.md").read_text()


def test_provenance_and_commands_stand_in_the_page(page: Page) -> None:
    text = " ".join(page.text)
    for known in ("c0ffee", "fingerprint f0", "fingerprint f1", "data people", "torch 2.13.0", "2,000 resamples"):
        assert known in text
    assert "python eval/score.py --model_name_or_path org/model0" in text
    assert "python eval/misalignment.py --base 'a b' --post c" in text


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
    known = json.loads((scores[0] / "run.json").read_text())
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
    assert table_of(page, "study", "d").rows[0][0][0] == EVIL
    assert table_of(page, "what").head[1] == EVIL.replace("_", " ")
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


def test_other_tables_and_figures_of_a_folder_are_shown(runs: dict[str, Path], tmp_path: Path) -> None:
    run = tmp_path / "frontier"
    (run / "figures").mkdir(parents=True)
    write_json(run / "run.json", about("frontier", "eval/frontier.py") | {"verdict": "centaur is on the frontier"})
    rows = {"name": ["base", "centaur"], "d": [0.0, -0.25], "d_low": [None, -0.5], "d_high": [None, -0.1]}
    pd.DataFrame(rows | {"on_frontier": [True, False]}).to_csv(run / "frontier.csv", index=False)
    (run / "figures/frontier.png").write_bytes(b"\x89PNG")
    write_report([run], tmp_path / "report.html", "html")
    page = Page(tmp_path / "report.html")
    table = table_of(page, "name", "d", "95 % interval", "on frontier")
    assert [text for text, _ in table.rows[1]] == ["centaur", "-0.250", "-0.500 to -0.100", "no"]
    assert [text for text, _ in table.rows[0]] == ["base", "0.000", "–", "yes"]
    assert ("src", "data:image/png;base64," + base64.b64encode(b"\x89PNG").decode()) in page.addresses
    assert "centaur is on the frontier." in " ".join(page.text)


def test_several_pairs_are_listed_and_averaged(tmp_path: Path) -> None:
    effects = effects_of(["a2020"], Estimate(0.2, 0.1, 0.3), group="all", group_name="all pairs")
    for model in ("org/one", "org/two"):
        effects += effects_of(["a2020"], Estimate(0.2, 0.1, 0.3), group_name=model)
    (section,) = write_report([effect_run(tmp_path / "run", effects, [])], tmp_path / "report.html", "html")
    assert (
        "on average over 2 pairs, people are predicted worse by the post-trained models than by the base models"
        in section.answers[0]
    )
    pairs = table_of(Page(tmp_path / "report.html"), "post-trained", "base")
    assert [row[0][0] for row in pairs.rows] == ["one", "two", "all pairs"]
    assert [figure.name for figure in section.figures] == ["forest", "pairs", "domains"]


def test_markdown_has_the_same_content(page: Page, runs: dict[str, Path], tmp_path: Path) -> None:
    output = tmp_path / "my report.md"
    write_report(list(runs.values()), output, "markdown")
    text = output.read_text()
    for table in page.tables:
        for row in table.rows:
            assert "| " + " | ".join(cell for cell, _ in row) + " |" in text
    assert "people are predicted worse by post than by base (d = +0.400, 95 % interval +0.100 to +0.700" in text
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
    assert len(re.findall(r"(?<!\\)\|", row)) == 10, "nine columns"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nothing"], "there is no folder nothing; name the folder of a run"),
        (["empty"], "empty holds no run, nor do the folders right below it"),
        (["unfinished"], "the run in unfinished is not finished"),
        (["s1", "other"], "were scored on different sessions"),
        (["s1", "--format", "pdf"], "--format is 'pdf'; choose html or markdown"),
        (["s1", "--output", "s1/run.json/report.html"], "cannot write s1/run.json/report.html"),
    ],
)
def test_mistakes_are_one_sentence(
    arguments: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch
) -> None:
    monkeypatch.chdir(tmp_path)
    score_run(Path("s1"), "one", ["a2020"])
    score_run(Path("other"), "one", ["a2020"], data="others")
    Path("empty").mkdir()
    Path("unfinished").mkdir()
    write_json(Path("unfinished/config.json"), {})
    monkeypatch.setattr(sys, "argv", ["centaurlab", "report", *arguments])
    with pytest.raises(SystemExit) as exited:
        cli.main()
    error = capsys.readouterr().err
    assert exited.value.code == 2
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    assert message in error
    assert not Path("report.html").exists()


def test_the_command_prints_the_answer_and_takes_a_folder_of_runs(tmp_path: Path, capsys, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    score_run(tmp_path / "runs/one", "org/one", ["a2020", "b2021"])
    score_run(tmp_path / "runs/two", "org/two", ["a2020", "b2021"], 1)
    monkeypatch.setattr(sys, "argv", ["centaurlab", "report", "runs", "runs/one"])
    with pytest.raises(SystemExit) as exited:
        cli.main()
    out = capsys.readouterr().out
    assert not exited.value.code
    assert out.count("a mean NLL of") == 2
    assert out.endswith("report: report.html\n")
    assert (tmp_path / "report.html").stat().st_size > 10_000
