"""How novel a study is: what it shares with the studies that a model was trained on, and which of them is nearest.

Three things are compared, on up to ``SESSIONS`` sessions of each study: instructions (n-grams of five words of the text
before the first trial; the 13 that are usual against contamination miss instructions of two sentences), items (what
stands between two responses) and people. Letters count as one, since they are drawn anew for each person, so that a
study told again with other letters is found. What the catalog knows of paradigms and families counts as well.
"""

import hashlib
import re
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from scipy.special import pdtrc  # the tail of Poisson's distribution

from centaurlab.catalog.facts import facts_of
from centaurlab.catalog.studies import UnreadableError, find_study, instructions
from centaurlab.data.options import cut_at_responses
from centaurlab.data.persons import Persons, Traits, Unit, traits_of
from centaurlab.data.transcripts import SessionKey, Transcript

SESSIONS = 100
"""Sessions of a study whose texts are compared: the first ones of the data."""

NEAR = 0.15
"""Similarity of instructions, and share of items, from which on two studies are siblings."""

_WORDS = 5
_FRAME_SHARE = 0.25
_MIN_TRAITS = 2  # so many metadata, all equal, and an equal id: perhaps the same person in two studies
_BY_CHANCE = 1e-6  # as many pairs of studies as anybody has compared
_WORD = re.compile(r"\w+")
_LETTER = re.compile(r"[A-Z]")


@dataclass(frozen=True)
class Likeness:
    """What a novel ``study`` shares with ``training_study``; of several, with the nearest.

    ``instructions``: n-grams that both have by those that either has (Jaccard's index). ``catalog``: what the catalog
    knows that they share: "sample", "family", "paradigm" or nothing.
    """

    study: str
    training_study: str
    shared_people: int
    people: int
    shared_items: int
    items: int
    instructions: float
    catalog: str

    @property
    def similarity(self) -> float:
        """How alike the texts are, 0 to 1: the share of items that recur or the likeness of instructions."""
        return max(self.shared_items / self.items if self.items else 0.0, self.instructions)

    @property
    def strength(self) -> tuple[bool, float, bool]:
        """By which the nearest is found: text and items before what the catalog says of other things."""
        same = self.shared_people / self.people if self.people else 0.0
        return self.are_siblings, max(self.similarity, same), bool(self.catalog)

    @property
    def are_siblings(self) -> bool:
        """Whether who trained on one has seen much of the other: then neither is novel to it."""
        return bool(self.shared_people or self.catalog) or self.similarity >= NEAR

    def in_words(self) -> str:
        """A sentence on what is shared."""
        told = "; both are " + {"sample": "of one sample", "family": "of one family"}.get(self.catalog, "")
        if self.catalog == "paradigm":
            told = f"; both are {facts_of(self.study).paradigm}"
        return (
            f"{self.study}: nearest training study {self.training_study}, {self.shared_people:,} of {self.people:,} "
            f"people shared, {self.shared_items:,} of {self.items:,} items, instructions {self.instructions:.2f} alike"
            f"{told if self.catalog else ''}{' (a sibling)' if self.are_siblings else ''}"
        )

    def as_dict(self) -> dict[str, Any]:
        """For ``split.json`` and ``novelty.csv``."""
        return asdict(self) | {"sibling": self.are_siblings}


@dataclass
class StudyPrint:
    """What is compared of a study; n-grams and items as hashes."""

    people: set[Unit] = field(default_factory=set)
    known_ids: set[tuple[str, Traits]] = field(default_factory=set)
    grams: set[int] = field(default_factory=set)
    items: set[int] = field(default_factory=set)
    n_texts: int = 0


Prints = Mapping[str, StudyPrint]


def study_prints(
    everybody: Iterable[tuple[SessionKey, Mapping[str, object]]],
    transcripts: Iterable[Transcript],
    persons: Persons,
    studies: Collection[str] | None = None,
) -> dict[str, StudyPrint]:
    """What is compared of ``studies`` (None: of all): people of ``everybody``, texts of the first ``transcripts``."""
    prints: dict[str, StudyPrint] = defaultdict(StudyPrint)
    for key, fields in everybody:
        if studies is None or key.study in studies:
            found = prints[key.study]
            found.people.add(persons.unit(key))
            traits = traits_of(fields)
            if len(traits) >= _MIN_TRAITS:
                found.known_ids.add((key.participant, traits))
    for transcript in transcripts:
        found = prints.get(transcript.study, StudyPrint(n_texts=SESSIONS))
        if found.n_texts < SESSIONS:
            found.n_texts += 1
            segments, _ = cut_at_responses(transcript.text)
            found.grams |= _grams(_instructions(transcript.study, segments[0]))
            found.items |= _items(segments)
    return dict(prints)


def likeness(novel: str, training: str, prints: Prints) -> Likeness:
    """What two studies have in common."""
    one, other = prints[novel], prints[training]
    either = len(one.grams | other.grams)
    facts = facts_of(novel), facts_of(training)
    shared = [name for name in ("sample", "family", "paradigm") if _same(*(getattr(known, name) for known in facts))]
    return Likeness(
        study=novel,
        training_study=training,
        shared_people=max(len(one.people & other.people), _known(one, other)),
        people=len(one.people),
        shared_items=len(one.items & other.items),
        items=len(one.items),
        instructions=len(one.grams & other.grams) / either if either else 0.0,
        catalog=shared[0] if shared else "",
    )


def nearest(novel: Iterable[str], training: Collection[str], prints: Prints) -> list[Likeness]:
    """Of each novel study, the training study that it shares most with; by name where several are equal."""
    return [
        max((likeness(study, other, prints) for other in sorted(training)), key=lambda found: found.strength)
        for study in sorted(set(novel) & prints.keys())
        if training
    ]


def families(studies: Iterable[str], prints: Prints) -> frozenset[str]:
    """``studies`` and whatever is a sibling of one of them, or of such a sibling."""
    found, todo = set(studies), list(studies)
    while todo:
        one = todo.pop()
        new = [
            other
            for other in prints.keys() - found
            if likeness(one, other, prints).are_siblings or likeness(other, one, prints).are_siblings
        ]
        found.update(new)
        todo += new
    return frozenset(found)


def _known(one: StudyPrint, other: StudyPrint) -> int:
    """How many ids have the same metadata in both studies, if more than of two samples that number theirs alike.

    Of those, each id that both have agrees as often as any two people do: the sum is Poisson's.
    """
    shared = len(one.known_ids & other.known_ids)
    if not shared:
        return 0
    ids, others = (Counter(name for name, _ in known) for known in (one.known_ids, other.known_ids))
    alike, of_other = (Counter(traits for _, traits in known) for known in (one.known_ids, other.known_ids))
    pairs = len(one.known_ids) * len(other.known_ids)
    expected = sum(n * others[name] for name, n in ids.items()) * sum(n * of_other[t] for t, n in alike.items()) / pairs
    return shared if pdtrc(shared - 1, expected) < _BY_CHANCE else 0


def _same(one: str, other: str) -> bool:
    return bool(one) and one == other


def _instructions(study: str, opening: str) -> str:
    """The text before the first trial; of a study without a module, or told otherwise, without the last line."""
    module = find_study(study)
    if module is not None:
        try:
            return instructions(module, opening)
        except UnreadableError:
            pass
    before, _, last = opening.rpartition("\n")
    return before if before.strip() else last


def _grams(text: str) -> set[int]:
    words = _words(text)
    n = min(_WORDS, len(words))
    return {_hash(words[i : i + n]) for i in range(len(words) - n + 1)} if words else set()


def _items(segments: list[str]) -> set[int]:
    """What was asked at each response, but for what frames many of a session's responses.

    From the next line on, as the rest of a response's own line is about its outcome; before the first, the last line.
    """
    told = [segments[0].rpartition("\n")[2], *(_next_line(segment) for segment in segments[1:-1])]
    words = [_words(trial) for trial in told]
    # A number alone, such as that of the trial, makes no item of a frame.
    frames = [tuple("#" if word.isdigit() else word for word in trial) for trial in words]
    times = Counter(frames)
    is_counter = [sum(word.isdigit() for word in trial) <= 1 for trial in words]
    most = max(1, _FRAME_SHARE * len(words))
    whole = Counter(map(tuple, words))
    return {
        _hash(trial)
        for trial, frame, counts in zip(words, frames, is_counter, strict=True)
        if trial and whole[tuple(trial)] <= most and not (counts and times[frame] > most)
    }


def _next_line(segment: str) -> str:
    _, _, rest = segment.partition("\n")
    return rest if rest.strip() else segment


def _words(text: str) -> list[str]:
    return ["x" if _LETTER.fullmatch(word) else word.casefold() for word in _WORD.findall(text)]


def _hash(words: Iterable[str]) -> int:
    return int.from_bytes(hashlib.blake2b("\0".join(words).encode("utf-8", "surrogatepass"), digest_size=8).digest())
