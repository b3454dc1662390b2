"""The paper's protocol edits the text as the published code does."""

import pytest

from centaurlab.prompts.prompt import protocol_text


@pytest.mark.parametrize(
    ("session", "scored"),
    [
        ("You press <<J>>. Then <<F", "You press <<J>>. Then "),
        ("You <<skip>> it", "You <<skip>>. it"),
        ("You win <<-5>>", "You win << -5>>"),
        ("You <<think>> so", "You << think>> so"),
        ("More Details >> <<yes>>", "More Details -> <<yes>>"),
        ("You press <<J \n>>", "You press <<J>>"),
        ("a" * 32_760 + "<<J>> <<F>>", "a" * 32_760 + "<<J>> "),
        ("a" * 32_763 + "<<J>>b", "a" * 32_763 + "<<J>>"),
    ],
)
def test_the_paper_protocol_edits_the_text_as_the_published_code(session: str, scored: str) -> None:
    assert protocol_text(session, "paper") == scored
    assert protocol_text(session, "full") == session
