"""An error is one sentence on one line."""

from centaurlab.runtime.errors import UserError


def test_a_name_with_a_line_separator_does_not_break_the_line() -> None:
    assert (
        str(UserError("data.zip/prompt\x1c.jsonl: cannot be\nunpacked")) == "data.zip/prompt .jsonl: cannot be unpacked"
    )
