"""What a page says of those who have metadata counts people, who may have several sessions."""

from centaurlab.analyses.personas import whose
from centaurlab.data.persons import find_persons
from centaurlab.data.transcripts import Transcript
from centaurlab.jobs.personas import about_people
from centaurlab.prompts.personas import persona_fields, read_personas


def test_people_of_several_sessions_are_counted_once() -> None:
    """Three people of two days each, of whom one says no gender and one keeps the own persona."""
    sessions = [
        Transcript(
            "You press <<J>>.", "alpha", f"alpha/day{day}", str(i), {"age": 20 + i} | ({"gender": "f"} if i else {})
        )
        for i in range(3)
        for day in range(2)
    ]
    personas = read_personas(sessions, persona_fields(), find_persons((one.key, one.metadata) for one in sessions))
    kept = {one.key for one in sessions if one.participant == "0"}
    about = about_people(personas, {one.key for one in sessions}, kept)
    assert (about["participants"], about["people"], about["people_kept_their_own"]) == (6, 3, 1)
    said = whose(about)
    assert said.startswith("3 people have metadata; how many answer what: age (3), gender (2). ")
    assert " 1 found no other persona in their study" in said
    of_older_version = {name: value for name, value in about.items() if not name.startswith("people")}
    assert whose(of_older_version).startswith("6 people have metadata")
