"""README's lines of Python in a real notebook, which a kernel of its own runs."""

from pathlib import Path

import nbformat
import pytest

import centaurlab as cl
from helpers.commands import installed, run_process
from helpers.readme import lines_of_python

SHOWN = ["people", "base", "cl.compare(post, base)"]
"""Objects that show themselves when a cell ends with them."""


@pytest.mark.slow
@pytest.mark.usefixtures("offline")
def test_the_lines_run_in_a_notebook_and_results_show_themselves(tiny_llama_dir: Path, tmp_path: Path) -> None:
    lines = lines_of_python(tiny_llama_dir, tmp_path)
    cells = [nbformat.v4.new_code_cell(source) for source in (lines, *SHOWN)]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), tmp_path / "lines.ipynb")
    done = run_process(installed("jupyter-execute"), "--output=done.ipynb", "lines.ipynb", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    first, *shown = nbformat.read(tmp_path / "done.ipynb", as_version=4).cells
    printed = "".join(output.text for output in first.outputs if output.output_type == "stream")
    assert "d = " in printed.splitlines()[-1]
    for cell in shown:
        (result,) = (output for output in cell.outputs if output.output_type == "execute_result")
        assert "<table" in result.data["text/html"]
    assert not [output for cell in shown for output in cell.outputs if output.output_type == "error"]


def test_rows_of_a_later_call_leave_those_of_an_earlier_one(tmp_path: Path) -> None:
    """The later call may be refused, as of another model."""
    texts = [["You press <<J>>."], ["You press <<F>>."], ["You press <<J>>."]]
    rows = [[{"text": text, "study": "a", "participant": "1"} for text in of_call] for of_call in texts]
    kept = [cl.People(cl.load(of_call).kept_in(tmp_path)) for of_call in rows]
    assert [[one.text for one in people] for people in kept] == texts
    assert len(list(tmp_path.iterdir())) == 2
