"""Nobody is predicted by what was learned from the same person, whoever is asked for."""

from hypothesis import given
from hypothesis import strategies as st

from centaurlab.cognitive.training_people import lessons
from centaurlab.data.persons import SEPARATE, find_persons
from centaurlab.data.splits import partition
from centaurlab.data.transcripts import SessionKey


@given(st.integers(1, 30), st.integers(0, 5), st.data())
def test_everybody_asked_for_is_predicted_once_and_by_others(n_people: int, seed: int, data: st.DataObject) -> None:
    keys = [SessionKey("s", f"e{day}", f"p{person}") for person in range(n_people) for day in range(1 + person % 2)]
    persons = find_persons((key, {}) for key in keys)
    training = partition(keys, persons, seed).train
    asked = data.draw(st.sets(st.sampled_from(keys)))
    found = list(lessons(asked, training, persons, seed))
    assert sorted((key for lesson in found for key in lesson.predicted), key=str) == sorted(asked, key=str)
    for lesson in found:
        assert set(lesson.training) <= training
        assert not {persons.unit(key) for key in lesson.training} & {persons.unit(key) for key in lesson.predicted}


def test_held_out_people_are_predicted_by_all_training_people() -> None:
    keys = [SessionKey("s", "e", f"p{person}") for person in range(30)]
    parts = partition(keys, SEPARATE, seed=0)
    (lesson,) = lessons(parts.test, parts.train, SEPARATE, seed=0)
    assert set(lesson.training) == parts.train
