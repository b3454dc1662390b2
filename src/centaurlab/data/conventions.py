"""What reviewers of Psych-201 and PsychLing-101 ask of a contribution, as warnings: ``centaurlab data lint``.

Beside ``checks`` (where a session contradicts itself) these are conventions: a session that breaks one can be read, but
means less, or something else, than it seems to. ``Linter`` goes through sessions once; ``REMEDIES`` says what to do.
"""

import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from centaurlab.data.checks import FORCED, LETTERS, RESPONSE_TIMES, REWARD_LABELS, TIMES, Doubt, as_list, doubts
from centaurlab.data.options import cut_at_responses, shared_labels
from centaurlab.data.transcripts import Transcript, is_missing, text_digest

REMEDIES: Mapping[str, str] = {
    REWARD_LABELS: "look whether the codes of the outcome are the other way round",
    RESPONSE_TIMES: "list one time per response, null where there is none",
    FORCED: "tell it without markers",
    LETTERS: "draw the letters of all options together, so that none is used twice",
    "unit of times": "write reaction times in ms",
    "list of times": "write one flat list of numbers",
    "negative times": "write null for a time that was not measured",
    "fixed labels": "draw the names of options per person, such as by labels(…) in a template",
    "spaces": "put the markers around the response alone, and one space after them",
    "words within markers": "write between the markers only what differs",
    "no instructions": "begin with the instructions that people read",
    "condition told": "leave out what people did not see, and keep it as metadata",
    "answer told": "tell the right answer after the response, if people were told it",
    "too long": "leave out what repeats, or split the session",
    "same session twice": "look whether a person's rows were told twice",
    "mark-up": "tell what people saw, without tags and entities",
    "unfilled text": "look for the cells that were missing, and tell such trials otherwise",
    "path as experiment": "name the experiment, such as study/experiment",
    "mixed metadata": "write a field in one type, numbers as numbers",
    "fields": "name the fields as the collection does",
    "files": "add the file, as the collection's README asks",
}
"""What to do about each check of this module, and of ``checks``."""

MAX_TOKENS, CHARACTERS_PER_TOKEN = 32_768, 4
"""Both collections take so many tokens per session; prose has four characters a token, other text fewer."""

_SECONDS_BELOW, _LEAST_TIMES = 20.0, 3
_LEAST_INSTRUCTIONS = 40
_LEAST_PEOPLE, _LEAST_SAME = 3, 5
_BY_CHANCE = 0.01  # equal sessions of a study that are expected by chance, up to which they count as told twice
_FIXED = re.compile(r"[A-Za-z]|[01]|[12]")
_TAG = re.compile(
    r"</?(?:p|br|b|i|em|strong|u|div|span|h[1-6]|ul|ol|li|table|tr|td|img|font|center|sub|sup|hr|a)\b[^<>\n]{0,200}>"
    r"|&(?:nbsp|amp|lt|gt|quot|#\d+);",
    re.IGNORECASE,
)
_UNFILLED = re.compile(r"\{\w*\}|\{\{.*?\}\}|(?<![\w'-])(?:nan|NaN|undefined|null)(?![\w'-])")
_CONDITION = re.compile(
    r"\b(?:(?:experimental |between[- ]subjects? )?condition|(?:trial|block|stimulus)[ _-]type|congruency|"
    r"correct[_ -]?(?:resp(?:onse)?|key|answer))\b ?[:=] ?['\"]?[\w-]+",
    re.IGNORECASE,
)
_PATH = re.compile(r"^[/~]|^\.{1,2}/|\.(csv|tsv|txt|jsonl?|xlsx?|parquet|pkl|rds|rdata|mat|sav)$", re.IGNORECASE)
_TOLD = re.compile(
    r"\b(?:correct|right) (?:answer|response|key|option|choice|button)\b ?(?:is|was|would be|:|=) ?(?:the )?"
    r"(?:option |key |button )?['\"]?([\w-]+)",
    re.IGNORECASE,
)


def session_warnings(transcript: Transcript) -> Iterator[Doubt]:
    """The warnings about one session by itself, at most one of each kind; those of ``checks`` are not among them."""
    segments, answers = cut_at_responses(transcript.text)
    text = "".join(segments)
    found = {
        **_times(transcript),
        "spaces": _spaces(segments, answers),
        "words within markers": _words(answers),
        "no instructions": _instructions(segments),
        "condition told": _first(_CONDITION, segments, "people see no such label"),
        "answer told": _answer_told(segments, answers),
        "too long": _length(transcript.text),
        "mark-up": _first(_TAG, segments, "stands in the text"),
        "unfilled text": _first(_UNFILLED, segments, "stands in the text") if text else None,
    }
    for check, reason in found.items():
        if reason:
            yield Doubt(check, transcript.origin, reason)


@dataclass
class Linter:
    """Goes through sessions one by one; ``ended`` gives the warnings that only all of a study's sessions show."""

    _texts: dict[str, dict[str, str]] = field(default_factory=lambda: defaultdict(dict))
    _types: dict[str, dict[str, dict[str, str]]] = field(default_factory=lambda: defaultdict(lambda: defaultdict(dict)))
    _kept: list[Transcript] = field(default_factory=list)
    _experiments: set[tuple[str, str]] = field(default_factory=set)
    _copies: dict[str, list[tuple[Doubt, float]]] = field(default_factory=lambda: defaultdict(list))

    def session(self, transcript: Transcript) -> Iterator[Doubt]:
        """Every warning about a session: its own, and its experiment's if it is the first of it."""
        yield from session_warnings(transcript)
        experiment = (transcript.study, transcript.experiment)
        if experiment not in self._experiments and _PATH.search(transcript.experiment):
            yield Doubt("path as experiment", transcript.origin, f"{transcript.experiment!r} is the name of a file")
        self._experiments.add(experiment)
        _, answers = cut_at_responses(transcript.text)
        digest = text_digest(transcript.text)
        before = self._texts[transcript.study].setdefault(digest, f"{transcript.origin}, {transcript.participant!r}")
        if before != f"{transcript.origin}, {transcript.participant!r}":
            copy = Doubt("same session twice", transcript.origin, f"the text is that of {before}")
            self._copies[transcript.study].append((copy, _bits(answers)))
        for name, value in transcript.metadata.items():
            if not is_missing(value) and not isinstance(value, list | dict) and not TIMES.fullmatch(name):
                kind = "text" if isinstance(value, str) else "number"
                self._types[transcript.study][name].setdefault(kind, f"{value!r} ({transcript.origin})")
        # Labels are judged by the answers alone.
        told = " ".join(f"<<{answer}>>" for answer in answers)
        self._kept.append(Transcript(told, transcript.study, transcript.experiment, transcript.participant))

    def ended(self) -> Iterator[Doubt]:
        """The warnings about studies."""
        people = Counter(transcript.study for transcript in self._kept)
        for study, copies in self._copies.items():  # short surveys are answered alike by chance
            enough = math.log2(people[study] ** 2 / 2 / _BY_CHANCE)
            yield from (copy for copy, bits in copies if bits > enough)
        for study, labels in shared_labels(self._kept, {}).items():
            is_rating = len(labels) > 2 and all(label.isdecimal() for label in labels)
            if people[study] >= _LEAST_PEOPLE and not is_rating and all(map(_FIXED.fullmatch, labels)):
                called = ", ".join(labels)
                yield Doubt("fixed labels", f"study {study}", f"the options are called {called} for everybody")
        for study, names in self._types.items():
            for name, kinds in names.items():
                if len(kinds) > 1:
                    told = f"`{name}` is a number, {kinds['number']}, and a text, {kinds['text']}"
                    yield Doubt("mixed metadata", f"study {study}", told)


def _times(transcript: Transcript) -> dict[str, str | None]:
    found: dict[str, str | None] = {}
    for name, value in transcript.metadata.items():
        times = as_list(value) if TIMES.fullmatch(name) else None
        if not times:
            continue
        numbers = [float(one) for one in times if isinstance(one, int | float) and not isinstance(one, bool)]
        known = sorted(one for one in numbers if math.isfinite(one))
        odd = next((one for one in times if one is not None and not isinstance(one, int | float)), None)
        if odd is not None:
            found["list of times"] = (
                f"`{name}` holds the {'list' if isinstance(odd, list) else 'text'} {str(odd)[:40]!r}"
            )
        if known and known[0] < 0:
            found["negative times"] = f"`{name}` holds {known[0]:g}"
        if len(known) >= _LEAST_TIMES and 0 < known[len(known) // 2] < _SECONDS_BELOW:
            found["unit of times"] = f"half of the times in `{name}` are below {known[len(known) // 2]:g}: seconds?"
    return found


def _spaces(segments: list[str], answers: list[str]) -> str | None:
    for number, (answer, after) in enumerate(zip(answers, segments[1:], strict=True), start=1):
        if answer.strip() and answer != answer.strip():
            return f"response {number} is {answer!r}"
        if re.match(r" {2,}\S", after):
            return f"two spaces follow response {number}, <<{answer}>>"
    return None


def _bits(answers: list[str]) -> float:
    """How much answers tell of a person: their number times the entropy of how often each was given."""
    return sum(-count * math.log2(count / len(answers)) for count in Counter(answers).values())


def _words(answers: list[str]) -> str | None:
    """What all answers of a session have before or after what differs: a whole word, a unit or a full stop."""
    if len(answers) < _LEAST_SAME or len(set(answers)) < 2:
        return None
    first, last = {answer.split(" ")[0] for answer in answers}, {answer.split(" ")[-1] for answer in answers}
    shortest = min(len(answer.split(" ")) for answer in answers)
    for shared, which in ((first, "begins"), (last, "ends")):
        if shortest > 1 and len(shared) == 1:
            return f"every response {which} with {min(shared)!r}, as in <<{answers[0]}>>"
    ends = {answer[-1:] for answer in answers}
    return f"every response ends with {min(ends)!r}" if len(ends) == 1 and ends <= set(".,;:!?") else None


def _instructions(segments: list[str]) -> str | None:
    told = segments[0].strip()
    return f"{told!r} is all before the first response" if len(told) < _LEAST_INSTRUCTIONS else None


def _first(pattern: re.Pattern[str], segments: list[str], what: str) -> str | None:
    found = next(filter(None, map(pattern.search, segments)), None)
    return f"{found[0][:60]!r} {what}" if found else None


def _answer_told(segments: list[str], answers: list[str]) -> str | None:
    for number, (before, answer) in enumerate(zip(segments, answers, strict=False), start=1):
        for found in _TOLD.finditer(before.rpartition("\n")[2]):
            if found[1].casefold() == answer.strip().casefold():
                return f"before response {number} stands {found[0]!r}, and the response is <<{answer}>>"
    return None


def _length(text: str) -> str | None:
    tokens = len(text) // CHARACTERS_PER_TOKEN
    return f"at least {tokens:,} tokens or so; {MAX_TOKENS:,} are the limit" if tokens > MAX_TOKENS else None


def all_warnings(transcripts: Iterable[Transcript], linter: Linter) -> Iterator[Doubt]:
    """Every warning of ``checks`` and of this module: of each session in their order, then of each study."""
    own: list[Doubt] = []

    def linted() -> Iterator[Transcript]:
        for transcript in transcripts:
            own.extend(linter.session(transcript))
            yield transcript

    for doubt in doubts(linted()):
        yield from own
        own.clear()
        yield doubt
    yield from own
    yield from linter.ended()


@dataclass(frozen=True)
class Profile:
    """What a collection asks of a line's fields and of the folder of a contribution.

    ``files``: names of which each has to be there, alternatives separated by ``|``.
    """

    name: str
    participant: str
    times: str
    files: tuple[str, ...]


PROFILES = {
    "psych-201": Profile(
        "Psych-201", "participant", "RTs", ("README.md", "generate_prompts.py|generate_prompts.R", "prompts.jsonl.zip")
    ),
    "psychling-101": Profile(
        "PsychLing-101",
        "participant_id",
        "rt",
        (
            *("README.md", "CODEBOOK.csv", "original_data", "processed_data"),
            "preprocess_data.py|preprocess_data.R",
            "generate_prompts.py|generate_prompts.R",
            "prompts.jsonl.zip",
        ),
    ),
}


def field_warnings(fields: Mapping[str, object], origin: str, profile: Profile) -> Iterator[Doubt]:
    """What a line's fields are called, against how the collection calls them."""
    if profile.participant not in fields:
        other = next((name for name in ("participant", "participant_id") if name in fields), "nothing")
        yield Doubt("fields", origin, f"{profile.name} calls the person `{profile.participant}`, here it is {other}")
    for name in fields:
        if TIMES.fullmatch(name) and name != profile.times:
            yield Doubt("fields", origin, f"{profile.name} calls reaction times `{profile.times}`, here it is `{name}`")
    if not isinstance(fields.get("experiment"), str):
        yield Doubt("fields", origin, f"{profile.name} asks for `experiment`, the name of the experiment")


def file_warnings(folder: Path, uses_images: bool, profile: Profile) -> Iterator[Doubt]:
    """Which files the folder of a contribution lacks."""
    for wanted in (*profile.files, *(("images.zip",) if uses_images else ())):
        names = wanted.split("|")
        if not any((folder / name).exists() for name in names):
            yield Doubt("files", str(folder), f"there is no {' or '.join(names)}")


def remedy(check: str) -> str:
    """What to do about a warning; empty where its reason says so itself."""
    return REMEDIES.get(check, "")
