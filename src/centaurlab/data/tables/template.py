"""One template tells one session: a sandboxed Jinja template and a person's trials into a text with its responses.

Only ``respond(value, rt)`` writes a response. What it gives the template is a mark that nothing in a table can hold;
the text is put between markers afterwards, and what is then found between markers has to be exactly what was
responded. So a ``<<`` in a cell or in the template is an error, never a response.
"""

import secrets
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import jinja2
from jinja2 import nodes

from centaurlab.data.letters import assign_letters, shuffled
from centaurlab.data.tables.sandbox import (
    MAX_CHARACTERS,
    UNDEFINED_NAME,
    TellingEnvironment,
    Trial,
    finite_number,
    is_missing_cell,
    limited,
)
from centaurlab.data.tables.table import Cell, Row, TrialTable, nearest
from centaurlab.data.transcripts import CLOSE, OPEN, find_responses
from centaurlab.runtime.errors import UserError, one_line


@dataclass(frozen=True)
class ToldSession:
    """A session's text with its ``responses`` in order, the reaction time of each (None: not known), and metadata."""

    text: str
    responses: tuple[str, ...]
    rts: tuple[float | None, ...]
    metadata: Mapping[str, object] = field(default_factory=dict)


class SessionTemplate:
    """A template read from ``source``; ``name`` is what errors call it. ``UserError`` where it is no template."""

    def __init__(self, source: str, name: str = "template") -> None:
        self.source, self.name = source, name
        self._environment = TellingEnvironment()
        try:
            tree = self._environment.parse(source)
            with limited():  # Jinja computes what is constant when it compiles
                code = self._environment.compile(tree, name, name)
        except jinja2.TemplateSyntaxError as error:
            raise UserError(f"{name}:{error.lineno}: {one_line(error)}; this is no sound Jinja template") from error
        except (RecursionError, UserError, jinja2.TemplateError) as error:
            raise UserError(f"{name}: {one_line(error)}; this is no sound Jinja template") from error
        for part in tree.find_all((nodes.Include, nodes.Import, nodes.FromImport, nodes.Extends)):
            raise UserError(f"{name}:{part.lineno}: a template stands alone here; write what it includes into it")
        for data in tree.find_all(nodes.TemplateData):
            if OPEN in data.data:
                line = data.lineno + data.data[: data.data.index(OPEN)].count("\n")
                raise UserError(f"{name}:{line}: '{OPEN}' in the template; only {{{{ respond(…) }}}} writes a response")
        self.has_responses = any(name.name == "respond" for name in tree.find_all(nodes.Name))
        self._template = jinja2.Template.from_code(self._environment, code, self._environment.make_globals(None))

    def tell(self, table: TrialTable, rows: Sequence[Row], study: str, participant: str) -> ToldSession:
        """The session of one person.

        Parameters
        ----------
        table, rows
            The table, and the person's rows of it in the order in which they are told.
        study, participant
            From which letters and orders are drawn.

        Returns
        -------
        ToldSession
            Its responses are exactly what the template responded with, in that order.

        Raises
        ------
        UserError
            Where the template or a cell is at fault, with the line of the template and of the table.
        """
        where = f"{self.name}, participant {participant!r}"
        responses = _Responses()
        trials = tuple(Trial(table, row) for row in rows)
        letters = _Letters(study, participant)
        metadata: dict[str, object] = {}

        def add_metadata(**known: object) -> str:
            metadata.update({name: _plain(value) for name, value in known.items() if not is_missing_cell(value)})
            return ""

        context: dict[str, object] = {
            "trials": trials,
            "first": trials[0],
            "study": study,
            "participant": Cell(participant),
            "respond": responses.respond,
            "labels": letters.draw,
            "shuffled": lambda items, purpose: shuffled(list(map(str, items)), study, participant, str(purpose)),
            "metadata": add_metadata,
        }
        try:
            with limited():
                text = _no_longer(self._template.generate(context))
            text = responses.put_into(text.strip("\n"))
        except UserError as error:
            raise UserError(f"{self._line(error, where)}: {error}") from error
        except jinja2.UndefinedError as error:
            raise UserError(f"{self._line(error, where)}: {self._undefined(error, context, table)}") from error
        # A template may do anything to its values, and whatever Python says of that is the template's mistake.
        except Exception as error:
            raise UserError(f"{self._line(error, where)}: {one_line(error)}") from error
        return ToldSession(text, tuple(responses.values), tuple(responses.rts), metadata)

    def _undefined(self, error: jinja2.UndefinedError, context: Mapping[str, object], table: TrialTable) -> str:
        name = UNDEFINED_NAME.match(said := one_line(error))
        if name is None:
            return said
        meant = f"trial.{name[1]}" if name[1] in table.columns else ""
        return f"{said}; " + (f"did you mean {meant!r}?" if meant else nearest(name[1], [*context, "trial"]))

    def _line(self, error: BaseException, where: str) -> str:
        found, trace = None, error.__traceback__
        while trace is not None:
            if trace.tb_frame.f_code.co_filename == self.name:
                found = trace.tb_lineno
            trace = trace.tb_next
        return where if found is None else f"{self.name}:{found}, {where.partition(', ')[2]}"


class _Responses:
    """What was responded, and the marks that stand for it until the text is whole."""

    def __init__(self) -> None:
        self.values: list[str] = []
        self.rts: list[float | None] = []
        # Letters of both cases, so that a filter that changes the mark is noticed.
        self._mark = f"\ue000aZ{secrets.token_hex(12)}:"

    def respond(self, value: object, rt: object = None) -> str:
        """The mark of a response."""
        if isinstance(value, jinja2.Undefined):
            value._fail_with_undefined_error()
        if isinstance(value, bool) or not isinstance(value, str | int):
            raise UserError(f"a response is text, not {type(value).__name__}; write | string, or '%.1f' | format(…)")
        text = str(value)
        if not text.strip():
            raise UserError(f"the response {text!r} is empty; give it a name, such as 'space', or leave the trial out")
        if self._mark in text:
            raise UserError("a response stands within a response")
        if OPEN in text or CLOSE in text or text.endswith(CLOSE[0]) or text.startswith(OPEN[0]):
            raise UserError(f"the response {text!r} holds a marker; write it otherwise, e.g. | replace('<', '‹')")
        self.values.append(text)
        self.rts.append(None if is_missing_cell(rt) else finite_number(rt))
        return f"{self._mark}{len(self.values) - 1}\ue001"

    def put_into(self, text: str) -> str:
        """The text with every response between its markers; ``UserError`` where that is not what was told."""
        if OPEN in text:
            place = text.index(OPEN)
            raise UserError(
                f"'{OPEN}' in {text[max(0, place - 20) : place + 20]!r} is no response; write it otherwise, e.g. "
                f"| replace('{OPEN}', '«')"
            )
        pieces = text.split(self._mark)
        numbers = [piece.partition("\ue001")[0] for piece in pieces[1:]]
        if numbers != [str(number) for number in range(len(self.values))]:
            raise UserError(
                f"{len(self.values)} responses are made, {len(numbers)} stand in the text as they were made; write "
                "each once, where it is made, and unchanged: {{ respond(…) }}"
            )
        rest = [piece.partition("\ue001")[2] for piece in pieces[1:]]
        told = [part for value, after in zip(self.values, rest, strict=True) for part in (OPEN, value, CLOSE, after)]
        whole = "".join([pieces[0], *told])
        found = [whole[response.start : response.end] for response in find_responses(whole)]
        if found != self.values:
            wrong = next(i for i, value in enumerate([*self.values, None]) if found[i : i + 1] != [value])
            raise UserError(f"response {wrong + 1} stands beside a '<' or '>' of the text; put a space between them")
        return whole


class _Letters:
    """The letters of one person: none is used twice, and the same options keep theirs."""

    def __init__(self, study: str, participant: str) -> None:
        self._study, self._participant, self._taken = study, participant, 0
        self._drawn: dict[tuple[str, ...], dict[str, str]] = {}

    def draw(self, *options: object) -> dict[str, str]:
        """A letter for each option, in an order by chance; options as arguments or as one list."""
        listed = options[0] if len(options) == 1 and not isinstance(options[0], str) else options
        names = tuple(map(str, listed))  # type: ignore[call-overload]
        if len(set(names)) < len(names):
            raise UserError(f"labels({', '.join(names)}): an option stands there twice")
        if names not in self._drawn:
            try:
                self._drawn[names] = assign_letters(names, self._study, self._participant, self._taken)
            except ValueError as error:
                raise UserError(f"labels(…): {error}") from error
            self._taken += len(names)
        return self._drawn[names]


def _no_longer(pieces: Iterator[str]) -> str:
    told: list[str] = []
    length = 0
    for piece in pieces:
        told.append(piece)
        length += len(piece)
        if length > MAX_CHARACTERS:
            raise UserError(f"the session is longer than {MAX_CHARACTERS:,} characters")
    return "".join(told)


def _plain(value: object) -> object:
    if isinstance(value, jinja2.Undefined):
        value._fail_with_undefined_error()
    if isinstance(value, str):
        return str(value)
    if value is None or isinstance(value, bool | int | float):
        return value
    raise UserError(f"metadata are texts and numbers, not {type(value).__name__}")
