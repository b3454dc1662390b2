"""The page of a report in a real Chromium: how high, how soon, how accessible it is."""

import shutil
import subprocess
import time
from pathlib import Path

import pytest

from centaurlab.analyses import misalignment
from centaurlab.catalog.tables import study_domains
from centaurlab.display.section import ReportFigure
from centaurlab.reporting import write_report
from centaurlab.stats.estimate import Estimate
from helpers.browser import CHROMIUM, dom, found_in
from helpers.effect_rows import effects_of
from helpers.finished_runs import effect_run, score_run

pytestmark = [pytest.mark.slow, pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")]

STUDIES = [study for study, domains in study_domains().items() if domains]
SIZE = "const page = document.documentElement; return [page.scrollHeight, page.scrollWidth - page.clientWidth];"
AXE = """
document.querySelectorAll("details").forEach(one => { one.open = true; });
const tags = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"];
const found = await axe.run(document, {runOnly: tags});
return {passes: found.passes.length, violations: found.violations.map(v => v.id + ": " + v.nodes[0].html)};
"""


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Scores of two models on 24 studies, and how they differ."""
    folder = tmp_path_factory.mktemp("reports")
    scores = [score_run(folder / f"s{i}", f"org/model{i}", STUDIES[:24], i) for i in range(2)]
    effects = effect_run(folder / "effects", effects_of(STUDIES[:24], Estimate(0.4, 0.1, 0.7)), scores)
    pages = {"scores": scores, "effects": [effects], "both": [effects, *scores]}
    for name, runs in pages.items():
        write_report(runs, folder / f"{name}.html", "html")
    return {name: folder / f"{name}.html" for name in pages}


@pytest.fixture(scope="module")
def axe(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Deque's axe-core, from npm."""
    folder = tmp_path_factory.mktemp("npm")
    install = ["npm", "install", "--silent", "--no-audit", "--no-fund", "--prefix", str(folder), "axe-core@4"]
    if shutil.which("npm") is None or subprocess.run(install, capture_output=True, timeout=60).returncode:
        pytest.skip("axe-core is not to be had: no npm, or no registry")
    return (folder / "node_modules/axe-core/axe.min.js").read_text()


@pytest.mark.parametrize("name", ["scores", "effects"])
def test_two_models_on_24_studies_fit_before_anything_is_unfolded(
    reports: dict[str, Path], name: str, tmp_path: Path
) -> None:
    height, _ = found_in(reports[name], tmp_path / "profile", SIZE)
    assert height < 1500
    _, beyond = found_in(reports[name], tmp_path / "profile", SIZE, width=500)  # a window cannot be narrower
    assert beyond == 0


@pytest.mark.parametrize(("width", "is_dark"), [(1280, False), (1280, True), (500, False)])
def test_axe_finds_nothing(reports: dict[str, Path], axe: str, tmp_path: Path, width: int, is_dark: bool) -> None:
    found = found_in(reports["both"], tmp_path / "profile", f"{axe};\n{AXE}", width, is_dark)
    assert found["violations"] == []
    assert found["passes"] > 20


def test_65_pairs_on_110_studies_open_within_two_seconds_more_than_an_empty_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    undrawn = dict.fromkeys(("nats", "forest", "pairs"))  # pictures for papers, instead of which the page has charts
    monkeypatch.setattr(misalignment, "effect_figures", lambda _: undrawn)
    monkeypatch.setattr(misalignment, "_figure", lambda name, caption, _: ReportFigure(name, caption, "svg", b""))
    effects = effects_of(STUDIES[:110], Estimate(0.2, 0.1, 0.3), group="all", group_name="all pairs")
    for pair in range(65):
        effects += effects_of(STUDIES[:110], Estimate(0.2, 0.1, 0.3), group_name=f"org/model-{pair}")
    write_report([effect_run(tmp_path / "run", effects, [])], tmp_path / "report.html", "html")
    (tmp_path / "empty.html").write_text("<!DOCTYPE html><title>empty</title>")
    seconds = {}
    for name in ("warm", "empty", "report"):
        page = tmp_path / ("empty.html" if name == "warm" else f"{name}.html")
        began = time.perf_counter()
        shown = dom(page, tmp_path / "profile")
        seconds[name] = time.perf_counter() - began
    assert shown.count('class="row') >= 110 + 65
    assert seconds["report"] - seconds["empty"] < 2
