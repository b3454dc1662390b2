"""Names are written as they are; what would act on a terminal is written out."""

import sys
import unicodedata

import pytest

from centaurlab.runtime.errors import UserError, exit_on_user_error
from centaurlab.runtime.names import shown


def test_ordinary_names_stay_as_they_are() -> None:
    for name in (
        "Qwen/Qwen3-8B",
        "[bold]x[/]",
        "une étude d'été",
        "一二三",
        "مرحبا",
        "👩\u200d👩\u200d👧",
        "a  b\u00a0c",
    ):
        assert shown(name) == name


def test_no_character_that_acts_is_left() -> None:
    """Controls (Cc), surrogates (Cs), separators of lines (Zl, Zp) and those that turn the direction of writing."""
    for code in range(sys.maxunicode + 1):
        character = chr(code)
        acts = unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp")
        acts |= unicodedata.bidirectional(character) in ("LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI")
        if acts:
            assert shown(character).isprintable(), hex(code)


@pytest.mark.parametrize("hidden", ["\xad", "\u200b", "\u2060", "\u2063", "\ufeff", "\u180e"])
def test_names_that_differ_by_what_has_no_width_look_different(hidden: str) -> None:
    assert shown(f"stu{hidden}dy") == f"stu{hidden.encode('unicode_escape').decode()}dy"


def test_an_error_sends_nothing_to_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    def fail() -> None:
        raise UserError("there is no file \x1b[2Jx\x07")

    with pytest.raises(SystemExit):
        exit_on_user_error(fail)
    assert capsys.readouterr().err == "error: there is no file \\x1b[2Jx\\x07\n"
