"""A first template from the columns of a table: what they hold as a comment, and a line per trial to be rewritten."""

import re
from collections import Counter
from collections.abc import Sequence

from centaurlab.data.tables.table import Row, TrialTable, by_person, named

_RESPONSES = ("response", "answer", "choice", "key_press", "key_resp.keys", "resp", "key")
_TIMES = ("rt", "RT", "reaction_time", "response_time", "key_resp.rt", "latency")
_BOOKKEEPING = {
    *("trial_type", "trial_index", "time_elapsed", "internal_node_id", "plugin_version", "rt_key_duration"),
    *("view_history", "success", "timeout", "failed_images", "failed_audio", "failed_video"),
}
"""What jsPsych writes of itself: nobody saw it."""

_KINDS = ("task", "phase", "trial_type", "screen")
"""Columns that tell trials from instructions and other rows."""

_SHOWN_VALUES, _SHOWN_CHARACTERS, _SHOWN_COLUMNS = 4, 30, 6


def first_template(table: TrialTable, participant: str) -> str:
    """A template to be rewritten: instructions, then a line per trial with its response, where a column may be it."""
    people = by_person(table, participant)
    lines = [
        "{# A first template, to be rewritten in the words that people read. Columns of the table, with some values:",
        *(_about(table, column, people) for column in table.columns),
        "",
        "   {{ trial.column }}              a cell, as it stands in the table; | int or | float to calculate with it",
        "   {{ respond(trial.choice, trial.rt) }}   what the person answered; nothing else is put between markers",
        '   {% set letters = labels("left", "right") %} … {{ respond(letters[trial.choice]) }}   letters by person',
        "   {% if trial.response is missing %} … {% endif %}   such as a trial that was not answered in time",
        "   {% for block, trials in trials | blocks('block') %} … {% endfor %}   trials that follow each other",
        *_where(table),
        "#}",
        "Here stand the instructions, as people read them.",
        "",
        "{% for trial in trials %}",
    ]
    response = _named(table, _RESPONSES)
    told = [
        column for column in table.columns if column not in (participant, response) and _varies(table, column, people)
    ]
    shown = [column for column in told if column not in (*_TIMES, *_BOOKKEEPING)][:_SHOWN_COLUMNS]
    cells = "; ".join(f"{column}: {{{{ {named(column)} | default('-'){_plain(table, column)} }}}}" for column in shown)
    if response is None:
        lines.append(f"Trial {{{{ loop.index }}}}: {cells}.")
        lines.append("{# TODO: name the column that holds the answer: You answer {{ respond(trial.answer) }}. #}")
    else:
        time = _named(table, _TIMES)
        arguments = named(response) + (f", {named(time)}" if time else "")
        lines.append(f"{{% if {named(response)} is not missing %}}")
        lines.append(f"Trial {{{{ loop.index }}}}: {cells}. You answer {{{{ respond({arguments}) }}}}.")
        lines.append("{% endif %}")
    return "\n".join([*lines, "{% endfor %}", ""])


def _about(table: TrialTable, column: str, people: dict[str, list[Row]]) -> str:
    values: dict[str, None] = {}
    n_missing = 0
    for row in table.rows:
        cell = table.cell(row, column)
        if cell is None:
            n_missing += 1
        else:
            values[str(cell)] = None
    examples = ", ".join(_short(value) for value in list(values)[:_SHOWN_VALUES])
    more = f", … ({len(values)} different)" if len(values) > _SHOWN_VALUES else ""
    missing = f"; {n_missing} of {len(table.rows)} missing" if n_missing else ""
    per_person = "" if _varies(table, column, people) else "; one value per person (--metadata?)"
    return f"   {named(column)}: {examples}{more}{missing}{per_person}"


def _short(value: str) -> str:
    """A value as it may stand in a comment of a template."""
    shown = repr(value[:_SHOWN_CHARACTERS] + ("…" if len(value) > _SHOWN_CHARACTERS else ""))
    return shown.replace("#}", "#…}").replace("<<", "<…<")


def _where(table: TrialTable) -> list[str]:
    """How rows are chosen, where a column seems to tell trials from instructions."""
    column = _named(table, _KINDS)
    if column is None:
        return []
    kinds = Counter(cell for row in table.rows if (cell := table.cell(row, column)) is not None)
    if len(kinds) < 2:
        return []
    kind = _short(kinds.most_common(1)[0][0]).replace('"', "…")
    return [f'   --where "{column} == {kind}"   on the command line: only these rows are told']


def _plain(table: TrialTable, column: str) -> str:
    """A filter for cells that are HTML, of which people saw the text."""
    is_html = any(re.search(r"</\w+>|<br", row.cells.get(column) or "") for row in table.rows)
    return " | replace('<', ' <') | striptags" if is_html else ""


def _varies(table: TrialTable, column: str, people: dict[str, list[Row]]) -> bool:
    """Whether somebody has two values; a cell without one is none."""
    return any(len({table.cell(row, column) for row in rows} - {None}) > 1 for rows in people.values())


def _named(table: TrialTable, names: Sequence[str]) -> str | None:
    lowered = {column.casefold(): column for column in table.columns}
    return next((lowered[name.casefold()] for name in names if name.casefold() in lowered), None)
