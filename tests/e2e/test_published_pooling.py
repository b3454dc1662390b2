"""d by the published protocol, split and pooling is what it was before people, options and intervals were mended.

``EXPECTED`` was printed by commit 8c71adb, from the inputs of ``helpers.pinned_inputs``, which depend on no library:

    python -c 'from helpers.pinned_inputs import *; write_inputs(Path("pinned"))'      # PYTHONPATH=tests
    cd pinned && python eval/misalignment.py --base base --post post --data sessions.jsonl --dtype float32 \\
        --protocol paper --participants test --output_dir out        # of a checkout of that commit
    # the columns name, d, nll_base, nll_post, n_responses and n_participants of out/effects.csv
"""

from pathlib import Path

import pandas as pd
import pytest

from helpers.commands import evaluate
from helpers.pinned_inputs import write_inputs

COLUMNS = ["d", "nll_base", "nll_post", "n_responses", "n_participants"]
EXPECTED = {
    "all studies": [-0.004882940450392031, 15.888018585875043, 15.885341583272464, 57, 6],
    "alpha": [-0.004181513331487313, 14.761495113372803, 14.70498948097229, 20, 2],
    "beta": [-0.0353904308931367, 16.07825501759847, 15.715693473815918, 6, 1],
    "gamma": [0.02492312287344792, 16.824305626653857, 17.23534179502918, 31, 3],
}


@pytest.mark.slow
def test_d_is_that_of_the_first_version(tmp_path: Path) -> None:
    write_inputs(tmp_path)
    asked = ("--base", "base", "--post", "post", "--data", "sessions.jsonl", "--dtype", "float32")
    asked = (*asked, "--protocol", "paper", "--participants", "test", "--output_dir", "out")
    done = evaluate("misalignment.py", *asked, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    table = pd.read_csv(tmp_path / "out" / "effects.csv")
    found = table[table["level"].isin(["overall", "study"])].set_index("name")[COLUMNS]
    assert set(found.index) == set(EXPECTED)
    for name, values in EXPECTED.items():
        assert found.loc[name].tolist() == pytest.approx(values, abs=1e-5), name
