import hashlib
import random

import pytest

from centaurlab.data.persons import SEPARATE
from centaurlab.data.splits import first_people, held_out, partition, person_order, select_people
from centaurlab.data.transcripts import SessionKey
from centaurlab.runtime.errors import UserError


def sessions(study: str, count: int) -> list[SessionKey]:
    return [SessionKey(study, f"{study}/exp1.csv", str(i)) for i in range(count)]


@pytest.mark.parametrize(
    ("participants", "test"),
    [(0, 0), (1, 0), (2, 1), (9, 1), (10, 1), (19, 1), (20, 2), (999, 99), (1000, 100), (5000, 100)],
)
def test_a_tenth_of_each_study_is_held_out_at_least_one_of_two_and_at_most_a_hundred(participants, test):
    keys = sessions("small2020", participants) + sessions("other2021", 40)
    held = held_out(keys, SEPARATE, seed=0)
    assert sum(key.study == "small2020" for key in held) == test
    assert sum(key.study == "other2021" for key in held) == 4


def test_who_is_held_out_depends_on_nothing_but_the_keys_of_the_study_and_the_seed():
    keys = sessions("a2020", 50)
    expected = held_out(keys, SEPARATE, seed=0)
    shuffled = random.Random(1).sample(keys, len(keys))
    assert held_out(shuffled, SEPARATE, seed=0) == expected
    assert held_out([*keys, *keys, *sessions("b2021", 30)], SEPARATE, seed=0) >= expected
    assert held_out(keys, SEPARATE, seed=1) != expected


def test_the_order_is_the_same_on_every_machine_and_in_every_version():
    def rank(participant: str) -> str:
        return hashlib.sha256(f'[0, "a2020", "a2020/exp1.csv", "{participant}"]'.encode()).hexdigest()

    order = [key.participant for (key,) in person_order(sessions("a2020", 8), SEPARATE, seed=0)["a2020"]]
    assert order == sorted("01234567", key=rank) == list("34652170")


def test_the_first_three_participants_are_among_the_first_ten():
    keys = sessions("a2020", 30) + sessions("b2021", 30)
    three, ten = first_people(keys, SEPARATE, 3, seed=5), first_people(keys, SEPARATE, 10, seed=5)
    assert len(three) == 6
    assert len(ten) == 20
    assert three < ten


def test_held_out_participants_come_first_so_that_a_small_sample_is_unseen():
    keys = sessions("a2020", 100)
    assert first_people(keys, SEPARATE, 10, seed=0) == held_out(keys, SEPARATE, seed=0)


def test_equal_participants_of_two_experiments_are_two_sessions():
    keys = [SessionKey("a2020", experiment, "1") for experiment in ("exp1", "exp2")]
    assert len(held_out(keys, SEPARATE, seed=0)) == 1


def test_a_partition_is_disjoint_complete_and_holds_novel_studies_out_whole():
    keys = sessions("a2020", 30) + sessions("b2021", 20) + sessions("c2022", 10)
    parts = partition(keys, SEPARATE, seed=0, novel_studies=["b2021"])
    assert parts.novel == set(sessions("b2021", 20))
    assert {key.study for key in parts.train | parts.test} == {"a2020", "c2022"}
    assert (len(parts.train), len(parts.test)) == (27 + 9, 3 + 1)
    assert parts.train | parts.test | parts.novel == set(keys)
    assert len(keys) == len(parts.train) + len(parts.test) + len(parts.novel)


def test_a_misspelt_novel_study_is_refused_with_the_nearest_name():
    with pytest.raises(UserError, match=r"no study 'b2012' in the data; did you mean 'b2021'\?"):
        partition(sessions("b2021", 2), SEPARATE, seed=0, novel_studies=["b2012"])


@pytest.mark.parametrize("count", [None, 1, 7, 150, 5000])
@pytest.mark.parametrize("half", ["all", "train", "test"])
def test_a_selection_from_a_stream_is_that_from_all_keys_at_once(half, count):
    keys = [*sessions("large2019", 1200), *sessions("a2020", 45), *sessions("b2021", 1), *sessions("c2022", 2)]
    test = held_out(keys, SEPARATE, seed=3)
    of_half = {"all": set(keys), "test": test, "train": set(keys) - test}[half]
    expected = first_people(of_half, SEPARATE, count or len(keys), seed=3)
    repeated = random.Random(0).sample([*keys, *keys[::3]], len(keys) + len(keys[::3]))
    chosen = list(select_people(iter(repeated), SEPARATE, half, count, seed=3))
    assert set(chosen) == expected
    assert len(chosen) == len(expected)
