"""The page of sessions: the texts that were scored, each response with the tables' NLLs, nothing from elsewhere."""

import html
import json
import re
import shutil
import subprocess
import time
from pathlib import Path

import pytest

import centaurlab as cl
from centaurlab.data.options import cut_at_responses
from centaurlab.display import view as display
from centaurlab.display.view import ViewedSession
from centaurlab.jobs.view import write_view
from helpers.commands import centaurlab
from helpers.report_pages import Page
from helpers.tiny_models import save_tiny_llama
from helpers.transcripts import write_transcripts

EVIL = "</script><script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\">&amp;"
ROWS = [
    {
        "experiment": f"study{study}/one",
        "participant": f"p{person}{EVIL if person == 1 else ''}",
        "text": f"Round {study}.{EVIL}\u2028 "
        + "".join(f"You press <<{'JF'[(person + trial) % 2]}>>.\n" for trial in range(3 + person)),
    }
    for study in range(2)
    for person in range(3)
]
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")

pytestmark = pytest.mark.usefixtures("offline")


@pytest.fixture(scope="module")
def runs(tiny_llama_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("view")
    data = write_transcripts(folder / "people.jsonl", ROWS)
    base = cl.score(tiny_llama_dir, data, folder / "base").folder
    return base, cl.score(save_tiny_llama(folder / "m1", seed=1), data, folder / "post").folder


def data_of(page: str, name: str):
    found = re.search(f'<script type="application/json" id="{name}">(.*?)</script>', page, re.DOTALL)
    assert found is not None
    return json.loads(found[1])


def test_texts_and_numbers_are_those_that_were_scored(runs, tmp_path):
    base, post = runs
    done = centaurlab("view", post, "--base", base, "--output", tmp_path / "v.html")
    assert done.returncode == 0, done.stderr
    page = (tmp_path / "v.html").read_text(encoding="utf-8")
    index, sessions = data_of(page, "index"), data_of(page, "chunk-0000")
    assert [(index["studies"][s[0]], s[1], s[2]) for s in index["sessions"]] == [
        (row["experiment"].partition("/")[0], row["experiment"], row["participant"]) for row in ROWS
    ]
    tables = [cl.read(run).table() for run in (base, post)]
    for row, shown in zip(ROWS, sessions, strict=True):
        assert (shown["segments"], shown["responses"]) == tuple(map(list, cut_at_responses(row["text"])))
        for table, measures in zip(tables, shown["models"], strict=True):
            is_own = (table["experiment"] == row["experiment"]) & (table["participant"] == row["participant"])
            own = table[is_own].sort_values("response")
            assert measures["nll"] == pytest.approx(own["nll"].tolist(), abs=1e-4)
            assert measures["entropy"] == pytest.approx(own["entropy"].tolist(), abs=1e-4)
    rises = [nlls[4] - nlls[3] for nlls in index["worst"]]
    assert rises == sorted(rises, reverse=True)
    assert len(rises) == sum(len(shown["responses"]) for shown in sessions)


def test_models_are_compared_on_responses_that_both_scored(tmp_path):
    """The base read the first two responses alone, and both models are the same."""
    models = ({"nll": [0.5, 1.0, None]}, {"nll": [0.5, 1.0, 3.0]})
    apart = ({"nll": [0.5, None]}, {"nll": [None, 1.0]})
    sessions = [
        ViewedSession("s", "e", "p", ("",) * (len(one[0]["nll"]) + 1), ("a",) * len(one[0]["nll"]), one)
        for one in (models, apart)
    ]
    write_view(tmp_path / "v.html", ["base", "post"], sessions, "2 sessions")
    index = data_of((tmp_path / "v.html").read_text(encoding="utf-8"), "index")
    assert [s[-3:] for s in index["sessions"]] == [[2, 0.75, 0.75], [0, None, None]]


def test_names_do_not_turn_round_what_is_written_beside_them(tmp_path):
    session = ViewedSession("s\u202e", "e\u2067", "p\u202e", ("", "."), ("a\u202e",), ({"nll": [1.5]},))
    write_view(tmp_path / "v.html", ["m\u202e"], [session], "1 session")
    page = (tmp_path / "v.html").read_text(encoding="utf-8")
    index = data_of(page, "index")
    assert (index["models"], index["studies"]) == (["m\\u202e"], ["s\\u202e"])
    assert index["sessions"][0][1:3] == ["e\\u2067", "p\\u202e"]
    assert index["worst"][0][2] == "a\\u202e"
    assert data_of(page, "chunk-0000")[0]["responses"] == ["a\u202e"], "a text is as people saw it"
    assert "\u202e" not in page


def test_the_page_loads_nothing_and_runs_nothing_of_the_data(runs, tmp_path):
    centaurlab("view", runs[1], "--output", tmp_path / "v.html")
    page = Page(tmp_path / "v.html")
    assert not {"link", "iframe", "object", "embed", "img"} & set(page.elements)
    assert page.elements.count("script") == 3, "index, one chunk, the program"
    assert "default-src 'none'" in page.source
    assert not re.search(r"https?://|url\(|@import|fetch\(|XMLHttpRequest", page.source)


def chromium(profile: Path, *arguments: str) -> tuple[str, float]:
    """What a browser without a window prints, and how many seconds it took."""
    usual = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", f"--user-data-dir={profile}"]
    started = time.perf_counter()
    done = subprocess.run([str(CHROMIUM), *usual, *arguments], capture_output=True, text=True, timeout=120, check=True)
    return done.stdout, time.perf_counter() - started


@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")
def test_a_browser_shows_the_sessions_as_text_from_scripts_beside_the_page(runs, tmp_path, monkeypatch):
    monkeypatch.setattr("centaurlab.jobs.view.INLINE_CHARACTERS", 10)
    monkeypatch.setattr(display, "CHUNK_CHARACTERS", 700)
    base, post = runs
    done = centaurlab("view", post, "--base", base, "--output", tmp_path / "v.html")
    assert "with its data in" in done.stdout
    assert len(list((tmp_path / "v-data").glob("*.js"))) > 2
    address = (tmp_path / "v.html").as_uri()
    shown, _ = chromium(tmp_path / "profile", "--virtual-time-budget=4000", "--dump-dom", address)
    assert shown.count("<mark") == 2 * 3, "both models, the first session"
    assert EVIL in html.unescape(shown.partition('<div id="texts"')[2])
    assert "<title>Sessions under" in shown
    assert "<img" not in shown.partition('<div id="texts"')[2].partition("</main>")[0]


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")
def test_four_hundred_sessions_of_110_studies_open_at_once(tmp_path):
    """Within two seconds more than an empty page takes, on a wide screen and on a telephone."""
    trials = [(f"Machine F or machine J, trial {n} of sixty. You press ", "FJ"[n % 2]) for n in range(60)]
    told, answers = zip(*trials, strict=True)
    nlls = {"nll": [0.1 + n % 7 / 3 for n in range(60)], "entropy": [0.6] * 60, "option_nll": [0.05] * 60}
    sessions = [
        ViewedSession(f"study{n % 110:03}", f"study{n % 110:03}/one", f"p{n}", (*told, "."), answers, (nlls, nlls))
        for n in range(440)
    ]
    write_view(tmp_path / "v.html", ["base", "post"], sessions, "made up")
    chromium(tmp_path / "profile", "--dump-dom", "about:blank")  # the first start makes the profile
    _, empty = chromium(tmp_path / "profile", "--dump-dom", "about:blank")
    address = (tmp_path / "v.html").as_uri()
    for width in (1280, 390):
        shot = tmp_path / f"{width}.png"
        page, seconds = chromium(tmp_path / "profile", f"--window-size={width},900", f"--screenshot={shot}", address)
        assert seconds - empty < 2
        assert shot.stat().st_size > 20_000, "an empty page has a few thousand bytes"
    wide = ("--window-size=1280,900", "--virtual-time-budget=4000")
    page, _ = chromium(tmp_path / "profile", *wide, "--dump-dom", address)
    assert page.count("<mark") == 2 * 60
    assert page.count('<option value="') > 110


def test_data_that_changed_are_refused(runs, tmp_path):
    moved = write_transcripts(tmp_path / "moved.jsonl", ROWS)
    assert centaurlab("view", runs[0], "--output", tmp_path / "v.html", "--data", moved).returncode == 0
    changed = write_transcripts(tmp_path / "c.jsonl", [ROWS[0] | {"text": "Else. <<J>> <<F>> <<J>>"}, *ROWS[1:]])
    done = centaurlab("view", runs[0], "--output", tmp_path / "w.html", "--data", changed)
    assert "the sessions of study0 in" in done.error
    assert not (tmp_path / "w.html").exists()


def test_few_sessions_come_evenly_from_the_studies(runs, tmp_path):
    done = centaurlab("view", runs[0], "--output", tmp_path / "v.html", "--max_sessions", "2")
    assert done.returncode == 0, done.stderr
    page = (tmp_path / "v.html").read_text(encoding="utf-8")
    assert "2 of 6 scored sessions of 2 studies" in page
    assert [s[0] for s in data_of(page, "index")["sessions"]] == [0, 1]
    assert "must be at least 1" in centaurlab("view", runs[0], "--max_sessions", "0").error


def test_a_notebook_shows_the_page_in_a_frame_of_its_own(runs, tmp_path):
    base, post = map(cl.read, runs)
    view = cl.view(post, base)
    shown = view._repr_html_()
    assert shown.count("<iframe") == 1
    assert 'sandbox="allow-scripts"' in shown
    assert html.unescape(shown.partition('srcdoc="')[2].partition('" style')[0]) == view.page
    assert view.save(tmp_path / "n.html").read_text(encoding="utf-8") == view.page
    assert repr(view).startswith("View(6 sessions of 2 studies")
