"""The Jinja of templates and conditions: no files, no chance, no other orders, no code of Python's, an end in time.

A cell is the text that stands in the table; what is missing, misspelt or compared with a number is an error.
"""

import json
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import groupby
from typing import Any

import jinja2
import jinja2.meta
from jinja2.sandbox import ImmutableSandboxedEnvironment

from centaurlab.data.tables.table import Cell, Row, TrialTable, named, nearest
from centaurlab.runtime.errors import UserError, one_line
from centaurlab.runtime.limits import OutOfTimeError, memory_limit, time_limit

MAX_CHARACTERS = 1 << 23
"""Of one session; the longest known has 0.2 million."""

SECONDS = 30.0
"""For one session; they are told in milliseconds."""

MEMORY_BYTES = 1 << 30
"""For one session, beyond what the process has."""

_LEFT_OUT_FILTERS = (
    *("random", "groupby", "sort", "dictsort", "pprint", "tojson", "xmlattr", "urlize", "safe", "escape", "e"),
    *("forceescape", "center", "indent", "filesizeformat"),
)
"""Filters that draw at random, put trials into another order, write for web pages, or pad texts to any width."""

UNDEFINED_NAME = re.compile(r"'(\w+)' is undefined")
_DECIMAL_COMMA = re.compile(r"\s*[+-]?\d*,\d+\s*$")
_WIDE = re.compile(r"[%{][^%{}a-zA-Z]*\d{5,}")


@contextmanager
def limited() -> Iterator[None]:
    """An end to what a template may take; ``UserError`` beyond."""
    try:
        with memory_limit(MEMORY_BYTES), time_limit(SECONDS):
            yield
    except OutOfTimeError:
        raise UserError(f"takes more than {SECONDS:.0f} seconds") from None
    except MemoryError:
        raise UserError(f"needs more than {MEMORY_BYTES >> 30} GiB of memory") from None


class MissingCell(jinja2.StrictUndefined):
    """A cell without a value: an error wherever it is used, except by ``is missing`` and ``default(…)``."""


class _AbsentCell(MissingCell):
    """The same where rows are chosen: it equals no text, and is otherwise an error."""

    __hash__ = object.__hash__  # type: ignore[assignment]

    def __eq__(self, other: object) -> bool:  # type: ignore[override]
        return False

    def __ne__(self, other: object) -> bool:  # type: ignore[override]
        return True


class Trial:
    """A row as a template sees it: ``trial.column`` or ``trial["any column"]``."""

    def __init__(self, table: TrialTable, row: Row, missing: type[MissingCell] = MissingCell) -> None:
        self._table, self._row, self._missing = table, row, missing

    def cell(self, column: str) -> Cell | MissingCell:
        """The cell's text; ``UserError`` for a column that is not there."""
        value = self._table.cell(self._row, column)
        if value is not None:
            return value
        said = (
            f"{self._row.place}: {column!r} is missing; ask {{% if {named(column)} is not missing %}} before it is used"
        )
        return self._missing(said)

    def __str__(self) -> str:
        raise TypeError("a trial is no text; name one of its columns, as in {{ trial.column }}")


class TellingEnvironment(ImmutableSandboxedEnvironment):
    """Jinja without files, chance and other orders, where what is not there is an error with the nearest name."""

    intercepted_binops = frozenset({"*", "**", "%"})

    def __init__(self) -> None:
        super().__init__(
            undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.do"]
        )
        for name in _LEFT_OUT_FILTERS:
            self.filters.pop(name, None)
        plain_format = self.filters["format"]
        self.filters |= {
            "int": _strict_int,
            "float": _strict_float,
            "blocks": self._blocks,
            "json": _from_json,
            "default": _default,
            "d": _default,
            "format": lambda text, *values, **named: plain_format(_narrow(text), *values, **named),
        }
        self.tests |= {"missing": is_missing_cell, "true": _is_true, "false": lambda value: _is_true(value, False)}
        self.globals = {"range": self.globals["range"], "dict": dict, "namespace": jinja2.utils.Namespace}

    def getattr(self, obj: Any, attribute: str) -> Any:
        """``trial.column``; all else as in the sandbox."""
        if type(obj) is Trial:
            return obj.cell(attribute)
        return super().getattr(obj, attribute)

    def getitem(self, obj: Any, argument: Any) -> Any:
        """``trial["column"]``, and an entry that a mapping does not have with the nearest that it has."""
        if type(obj) is Trial:
            return obj.cell(str(argument))
        if isinstance(obj, dict):
            if isinstance(argument, MissingCell):
                return argument
            if isinstance(argument, str) and argument not in obj:
                raise UserError(f"{str(argument)!r} is none of the entries; {nearest(argument, list(map(str, obj)))}")
        return super().getitem(obj, argument)

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        """Products, powers and formats of a size that makes sense."""
        sizes = [len(one) if isinstance(one, str | list | tuple) else one for one in (left, right)]
        if operator == "**" and all(isinstance(one, int | float) for one in sizes) and abs(sizes[1]) > 64:
            raise UserError(f"a power with the exponent {sizes[1]}")
        is_repeated = operator == "*" and any(isinstance(one, str | list | tuple) for one in (left, right))
        if is_repeated and all(isinstance(one, int) for one in sizes) and sizes[0] * sizes[1] > MAX_CHARACTERS:
            raise UserError("a text or list repeated too often")
        return super().call_binop(context, operator, _narrow(left) if operator == "%" else left, right)

    def call(self, context: Any, called: Any, *arguments: Any, **named: Any) -> Any:
        """A function or a text's method, with numbers of a size that makes sense."""
        for one in (*arguments, *named.values()):
            if isinstance(one, int) and abs(one) > MAX_CHARACTERS and called is not range:
                raise UserError(f"a function is called with {one}")
        method = getattr(called, "__wrapped__", called)  # the sandbox has its own around formats
        of_text = getattr(method, "__self__", None)
        if isinstance(of_text, str) and method.__name__ in ("format", "format_map"):
            _narrow(of_text)
        return super().call(context, called, *arguments, **named)

    def _blocks(self, trials: Sequence[Any], column: str) -> list[tuple[Any, list[Any]]]:
        """Runs of trials that follow each other with the same value of ``column``, in order."""
        runs = groupby(trials, key=lambda trial: self.getitem(trial, column))
        return [(value, list(run)) for value, run in runs]


class RowCondition:
    """An expression of a row's columns, such as ``task == 'choice'``; ``UserError`` where it is none."""

    def __init__(self, expression: str) -> None:
        self._expression, self._environment = expression, TellingEnvironment()
        try:
            with limited():  # Jinja computes what is constant when it compiles
                self._compiled = self._environment.compile_expression(expression, undefined_to_none=False)
            self._named = jinja2.meta.find_undeclared_variables(self._environment.parse(f"{{{{ {expression} }}}}"))
        except (RecursionError, UserError, jinja2.TemplateError) as error:
            raise UserError(
                f"--where {expression!r}: {one_line(error)}; write it as in \"task == 'choice' and block | int > 0\""
            ) from error

    def holds(self, table: TrialTable, row: Row) -> bool:
        """Whether it is true of a row; ``UserError`` where it is neither true nor false."""
        where = f"--where {self._expression!r}, {row.place}"
        trial, columns = Trial(table, row, _AbsentCell), set(table.columns) - {"trial"}
        try:
            with limited():
                value = self._compiled(trial=trial, **{one: trial.cell(one) for one in self._named & columns})
            if isinstance(value, jinja2.Undefined):
                value._fail_with_undefined_error()
        except UserError as error:
            raise UserError(f"{where}: {error}") from error
        except jinja2.UndefinedError as error:
            name = UNDEFINED_NAME.match(said := one_line(error))
            meant = f"; {nearest(name[1], table.columns)}" if name else ""
            raise UserError(f"{where}: {said}{meant}") from error
        except Exception as error:  # as in SessionTemplate.tell
            raise UserError(f"{where}: {one_line(error)}") from error
        if not isinstance(value, bool):
            raise UserError(f"{where}: is {value!r}, neither true nor false; compare it with something")
        return value


def is_missing_cell(value: object) -> bool:
    """The test ``is missing``; a name that is misspelt is an error here, too."""
    if isinstance(value, jinja2.Undefined) and not isinstance(value, MissingCell):
        value._fail_with_undefined_error()
    return value is None or isinstance(value, MissingCell)


def _is_true(value: object, wanted: bool = True) -> bool:
    """Whether a value of a template's own or of JSON is true (or false); an error for a cell."""
    return bool(value) is wanted if isinstance(value, Cell) else value is wanted


def _from_json(value: object) -> object:
    """What a cell holds as JSON, numbers as they are written: jsPsych writes the answers to a survey so."""
    if isinstance(value, jinja2.Undefined):
        value._fail_with_undefined_error()
    try:
        return json.loads(str(value), parse_int=Cell, parse_float=Cell)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{str(value)[:40]!r} is not JSON ({error})") from error


def _default(value: object, otherwise: object = "") -> object:
    return otherwise if is_missing_cell(value) else value


def _narrow(text: Any) -> Any:
    """A format, which pads to no width that makes no sense."""
    if isinstance(text, str) and _WIDE.search(text):
        raise UserError(f"the format {text[:40]!r} pads to that width")
    return text


def finite_number(value: object) -> float:
    """The number that a text says; ``UserError`` where it says none."""
    if isinstance(value, jinja2.Undefined):
        value._fail_with_undefined_error()
    try:
        if isinstance(value, bool):
            raise ValueError
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        comma = "; a decimal comma is made a point by | replace(',', '.')" if _DECIMAL_COMMA.match(str(value)) else ""
        raise UserError(f"{value!r} is no number{comma}") from None
    if number != number or number in (float("inf"), -float("inf")):
        raise UserError(f"{value!r} is no finite number")
    return number


def _strict_float(value: object) -> object:
    """The number that a text says; what is missing stays so."""
    return value if isinstance(value, MissingCell) else finite_number(value)


def _strict_int(value: object) -> object:
    if isinstance(value, MissingCell):
        return value
    number = finite_number(value)
    if number != int(number):
        raise UserError(f"{value!r} is no whole number")
    return int(value) if isinstance(value, str) and value.strip().lstrip("+-").isdecimal() else int(number)
