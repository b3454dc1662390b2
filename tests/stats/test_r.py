"""The lines of R in docs/method.md give what effects.csv has, from the same scores."""

import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from centaurlab.results.run import read_run
from centaurlab.stats.effects import estimate_effects
from centaurlab.stats.sums import compare
from helpers.paths import ROOT
from helpers.score_folders import table_folder

RSCRIPT = shutil.which("Rscript")


def has_packages() -> bool:
    asked = 'for (name in c("effectsize", "sandwich", "lme4")) stopifnot(requireNamespace(name))'
    return (
        RSCRIPT is not None and subprocess.run([RSCRIPT, "-e", asked], capture_output=True, check=False).returncode == 0
    )


@pytest.mark.slow
def test_r_gives_the_same_d_two_way_interval_and_paired_effect(tmp_path: Path) -> None:
    if not has_packages():
        pytest.skip("no R with effectsize, sandwich and lme4 on this machine")
    rng = np.random.default_rng(0)
    n_people, n_items = 8, 12
    table = pd.DataFrame({"study": "s", "experiment": "e", "participant": np.repeat(np.arange(n_people), n_items)})
    table["participant"] = table["participant"].astype(str)
    table["response"], table["item"] = np.tile(np.arange(n_items), n_people), np.tile(np.arange(n_items) + 1, n_people)
    table["n_tokens"] = 1
    nll = 3 + rng.gamma(2, 0.5, len(table))
    more = (
        rng.normal(0.2, 0.3, n_people)[table["participant"].astype(int)]
        + rng.normal(0, 0.3, n_items)[table["response"]]
    )
    runs = {}
    for name, values in (("base", nll), ("post", nll + more + rng.normal(0, 0.2, len(table)))):
        scored = table.assign(nll=values.astype(np.float32))
        runs[name] = read_run(table_folder(tmp_path / name, scored))
        pd.read_parquet(tmp_path / name / "scores.parquet").to_csv(tmp_path / f"{name}.csv")
    (code,) = re.findall(r"```r\n(.*?)```", (ROOT / "docs" / "method.md").read_text(encoding="utf-8"), re.DOTALL)
    assert RSCRIPT is not None
    done = subprocess.run([RSCRIPT, "-e", code], capture_output=True, text=True, cwd=tmp_path, check=True)
    d, low, high, paired, error, mixed_error = map(float, done.stdout.split())
    effects = estimate_effects([compare(runs["post"], runs["base"])], 200, domains=lambda _: ())
    study = next(e for e in effects if e.level == "study")
    assert d == pytest.approx(study.d.value, abs=1e-6)
    assert (low, high) == pytest.approx((study.nll_difference_items.low, study.nll_difference_items.high), abs=1e-6)
    assert paired == pytest.approx(study.d_paired.value, abs=1e-6)
    assert mixed_error == pytest.approx(error, rel=0.1)
