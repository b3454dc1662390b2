"""The page's own charts of estimates."""

import re

from centaurlab.display.chart import chart_of
from centaurlab.display.figures.intervals import Row
from centaurlab.display.pages import _page
from centaurlab.display.section import ReportFigure, Section
from centaurlab.stats.estimate import Estimate


def test_whichever_line_goes_beyond_the_axis_is_marked_there() -> None:
    narrow = Estimate(0.2, 0.1, 0.3)
    rows = [Row(f"study {n}", narrow, these=narrow, models=narrow) for n in range(9)]
    rows.append(Row("people", narrow, these=Estimate(0.2, -30.0, 0.3)))
    rows.append(Row("models", narrow, these=narrow, models=Estimate(0.2, 0.1, 30.0)))
    rows.append(Row("both", Estimate(0.2, -30.0, 30.0), these=Estimate(0.2, -20.0, 20.0)))
    figure = ReportFigure("d", "d.", "svg", b"", chart_of(rows, "d (SD)"))
    page = _page("title", [Section("s", "q?", (), (), (figure,), (), (), ())])
    lanes = re.split(r'<span class="name">', page)[1:]
    marks = {lane.partition("<")[0]: "".join(re.findall("[‹›]", lane)) for lane in lanes}
    assert {name: found for name, found in marks.items() if found} == {"people": "‹", "models": "›", "both": "›‹"}
