"""Studies that are told again under another name are found among those trained on, whatever was changed."""

import itertools
import random
import re
import string
from collections.abc import Iterator
from dataclasses import replace

import pytest

from centaurlab.catalog.facts import siblings
from centaurlab.data.novelty import Likeness, Prints, families, likeness, nearest, study_prints
from centaurlab.data.persons import find_persons
from centaurlab.data.source import DataArguments, open_source
from centaurlab.data.starter.studies import STUDIES
from centaurlab.data.transcripts import Transcript
from helpers.paths import PSYCH_201, ROOT

WORDS = [f"{a}{b}" for a in "bdfgklmnprst" for b in ("ando", "elin", "irus", "opal", "uxen", "yard")]


def study(name: str, seed: int, n_people: int = 12, first_person: int = 0) -> list[Transcript]:
    """People who see words of the study's own, after instructions of its own, with letters of their own."""
    draw = random.Random(seed)
    told = " ".join(draw.choice(WORDS) for _ in range(40))
    stimuli = [" ".join(draw.sample(WORDS, 3)) for _ in range(30)]
    people = []
    for person in range(first_person, first_person + n_people):
        of_person = random.Random(f"{seed} {person}")
        yes, no = of_person.sample(string.ascii_uppercase, 2)
        lines = [f"Press {yes} for yes and {no} for no. {told}."]
        lines += [f"{item}. You press <<{of_person.choice((yes, no))}>>." for item in of_person.sample(stimuli, 20)]
        metadata = {"age": 20 + of_person.randrange(50), "BDI score": of_person.random()}
        people.append(Transcript("\n".join(lines), name, name, f"{seed}-{person}", metadata))
    return people


def prints_of(transcripts: list[Transcript]) -> Prints:
    everybody = [(one.key, one.metadata) for one in transcripts]
    return study_prints(everybody, transcripts, find_persons(everybody))


def other_letters(text: str, seed: int) -> str:
    letters = random.Random(seed).sample(string.ascii_uppercase, 26)
    return re.sub(r"\b[A-Z]\b", lambda found: letters[ord(found[0]) - ord("A")], text)


def told_anew(original: list[Transcript], how: str) -> list[Transcript]:
    """A duplicate under another name."""
    first = original[0].text.partition("\n")[0]
    changed = {
        "nothing": lambda one: one.text,
        "letters": lambda one: other_letters(one.text, 3),
        "instructions": lambda one: "Say what you think.\n" + one.text.partition("\n")[2],
        "items": lambda one: (
            first + "\n" + re.sub(r"^\w+ \w+ \w+", "new thing", one.text.partition("\n")[2], flags=re.M)
        ),
        "all but the people": lambda one: f"How was it? <<{'good' if one.participant[-1] < '5' else 'bad'}>>.",
    }[how]
    who = (lambda one: one.participant) if how == "all but the people" else (lambda one: f"new {one.participant}")
    return [replace(one, text=changed(one), study="copy", experiment="copy", participant=who(one)) for one in original]


@pytest.mark.parametrize("how", ["nothing", "letters", "instructions", "items", "all but the people"])
@pytest.mark.parametrize("seed", range(10))
def test_planted_duplicates_are_all_found(how: str, seed: int) -> None:
    studies = {f"s{number}": study(f"s{number}", 100 * seed + number) for number in range(8)}
    original = random.Random(seed).choice(sorted(studies))
    copy = told_anew(studies[original], how)
    prints = prints_of([one for people in (*studies.values(), copy) for one in people])
    (found,) = nearest(["copy"], studies, prints)
    assert found.training_study == original
    assert found.are_siblings
    assert families(["copy"], prints) == {"copy", original}
    assert families([original], prints) == {"copy", original}


def test_what_is_shared_is_counted() -> None:
    original = study("old", 1)
    copy = told_anew(original, "letters")
    (found,) = nearest(["copy"], ["old", "other"], prints_of([*original, *copy, *study("other", 2)]))
    assert found == Likeness("copy", "old", 0, 12, 30, 30, 1.0, "")
    same = [replace(one, study="copy", experiment="copy") for one in original]
    (found,) = nearest(["copy"], ["old"], prints_of([*original, *same]))
    assert found.shared_people == 12
    assert found.in_words() == (
        "copy: nearest training study old, 12 of 12 people shared, 30 of 30 items, instructions 1.00 alike (a sibling)"
    )


@pytest.mark.parametrize(("n_shared", "are_told"), [(0, False), (40, True)])
def test_people_of_equal_numbers_are_shared_beyond_chance_alone(n_shared: int, are_told: bool) -> None:
    """Students numbered from 1 in each study: one in fourteen pairs is of one age and gender."""
    draw = random.Random(n_shared)

    def student() -> dict[str, object]:
        return {"age": draw.randint(18, 24), "gender": draw.choice("fm")}

    first = {study: [student() for _ in range(100)] for study in ("s0", "s1", "s2", "s3", "s4")}
    for people in first.values():
        people[:n_shared] = first["s0"][:n_shared]
    known = [
        Transcript("", study, study, str(i), one) for study, people in first.items() for i, one in enumerate(people)
    ]
    everybody = [(one.key, one.metadata) for one in known]
    prints = study_prints(everybody, [], find_persons(everybody))
    for one, other in itertools.permutations(first, 2):
        found = likeness(one, other, prints)
        equal = sum(a == b for a, b in zip(first[one], first[other], strict=True))
        assert equal > n_shared
        assert found.shared_people == (equal if are_told else 0)


def test_studies_that_have_nothing_in_common_are_no_siblings() -> None:
    prints = prints_of([one for number in range(6) for one in study(f"s{number}", number)])
    for number in range(6):
        assert families([f"s{number}"], prints) == {f"s{number}"}


def test_a_frame_with_the_number_of_the_trial_is_no_item() -> None:
    def bandit(name: str, n: int) -> list[Transcript]:
        trials = "".join(f"Trial {i}: you choose <<J>>. You win {i * n % 7} points.\n" for i in range(40))
        return [Transcript(f"The {name} game.\n{trials}", name, name, str(i)) for i in range(3)]

    (found,) = nearest(["b"], ["a"], prints_of([*bandit("a", 3), *bandit("b", 5)]))
    assert found.items == 0


def shipped() -> Iterator[tuple[str, list[str], list[str]]]:
    """Each configuration with novel studies: these, and all studies of its data."""
    for path in sorted((ROOT / "recipes" / "configs").glob("*.yaml")):
        text = path.read_text()
        if named := re.search(r"^novel_studies: (.+)$", text, re.MULTILINE):
            if re.search(r"^data: starter$", text, re.MULTILINE):
                yield path.name, named[1].split(","), [one.name for one in STUDIES]
            else:
                yield (
                    path.name,
                    named[1].split(","),
                    sorted(one.name.partition(".")[0] for one in PSYCH_201.glob("*.gz")),
                )


@pytest.mark.parametrize(
    ("config", "novel", "studies"), list(shipped()), ids=lambda value: value if isinstance(value, str) else ""
)
def test_shipped_configurations_hold_out_whole_families(config: str, novel: list[str], studies: list[str]) -> None:
    trained = set(studies) - set(novel)
    assert {one: siblings(one, trained) for one in novel} == {one: [] for one in novel}


def test_what_is_shared_in_the_starter_set() -> None:
    source = open_source(DataArguments(max_participants=30))
    prints = study_prints(source.everybody(), source, source.persons)
    (found,) = nearest(["jain1994yogurt"], prints.keys() - {"jain1994yogurt"}, prints)
    assert (found.training_study, found.catalog, found.are_siblings) == ("jain1994ketchup", "family", True)
    assert families(["jain1994yogurt"], prints) == {"jain1994crackers", "jain1994ketchup", "jain1994yogurt"}


@pytest.mark.skipif(not PSYCH_201.exists(), reason="needs the shared transcripts")
def test_the_same_items_are_found_in_real_studies() -> None:
    source = open_source(DataArguments(str(PSYCH_201), studies="guenther2020LDT,guenther2020TS,shahar2019twosteptask"))
    prints = study_prints(source.everybody(), source, source.persons)
    (found,) = nearest(["guenther2020TS"], prints.keys() - {"guenther2020TS"}, prints)
    assert found.training_study == "guenther2020LDT"
    assert found.shared_items >= 0.99 * found.items > 2900
