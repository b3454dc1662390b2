"""A transcript as trials: nothing that only its end tells is known at its beginning."""

from dataclasses import replace

from centaurlab.catalog.studies import Ask, Study, Trial
from centaurlab.cognitive.session import answer_index, read_session, symbol_of
from centaurlab.data.transcripts import Transcript

TEXT = "You press <<J>>. You win 2. You press <<F>>. You win 3."


def told(study: str = "s", text: str = TEXT) -> Transcript:
    return Transcript(text, study, "e", "p")


def with_roles_at_the_end(trials: list[Trial]) -> list[Trial]:
    return [replace(t, roles=("worse", "better"), role="worse", outcome={"points": float(t.after[10])}) for t in trials]


def test_roles_that_outcomes_tell_are_taken_away_and_outcomes_stay() -> None:
    study = Study("s", lambda *_: Ask(options=("J", "F")), first_trial="You press", finish=with_roles_at_the_end)
    session = read_session(told(), ("p",), {}, {"s": study})
    assert [trial.roles for trial in session.trials] == [None, None]
    assert [symbol_of(trial) for trial in session.trials] == ["J", "F"]
    assert [trial.outcome["points"] for trial in session.trials] == [2.0, 3.0]


def test_without_a_module_options_are_the_labels_of_the_study_or_ones_own_answers() -> None:
    shared = read_session(told(), ("p",), {"s": ("F", "J", "K")}, {})
    own = read_session(told(), ("p",), {}, {})
    assert [(one.rule, one.trials[0].options) for one in (shared, own)] == [
        ("labels of the study", ("F", "J", "K")),
        ("own answers", ("F", "J")),
    ]
    assert [answer_index(trial) for trial in shared.trials] == [1, 0]


def test_a_text_that_its_module_cannot_read_is_said_to_be_one() -> None:
    def ask(*_: object) -> Ask:
        raise ValueError("another text")

    session = read_session(told(), ("p",), {}, {"s": Study("s", ask, first_trial="You")})
    assert session.rule == "own answers"
    assert "another text" in (session.problem or "")
