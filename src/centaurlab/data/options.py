"""A session's text into what each response could have been, by the best of three rules; and which rule that was.

Never by what the person happened to answer where better is known: (a) the study's module in the catalog, (b) the
labels that everybody in the study used, where labels are not drawn anew per person, (c) the session's own answers; of
both without remarks in words of one's own. A blank answer is none: it is no option, and what was offered there is what
the session's other choices were among.
"""

import hashlib
import json
import re
from array import array
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import numpy.typing as npt

from centaurlab.catalog.studies import Study, Trial, UnreadableError, find_study, read_trials
from centaurlab.data.transcripts import Transcript, find_responses, is_blank

Rule = Literal["module", "labels of the study", "own answers", "simulator"]

MAX_LABELS = 10
"""Rules (b) and (c) take so many different answers, and no more, for a choice among them."""

MAX_ANSWERS = 1 << 15
"""A study with more different answers is no choice among labels: what is kept in memory of free texts has an end."""

_SHARE_OF_LABELS = 0.99
_SHARE_OF_CHOICES, _LONGER = 0.9, 3
_TIMES_ASKED = 4
_SEVERAL_WORDS = re.compile(r"\W*[^\W\d_]\S*\s+.*[^\W\d_]", re.DOTALL)
_FRAME_SHARE = 0.25
_OPEN = -1


@dataclass(frozen=True)
class SessionOptions:
    """What each response of a session could have been.

    ``sets``: the different sets of options, each as it would stand between the markers, in the order of first use.
    ``set_R``: (R,) which of them, per response; -1 where there is none. ``role_R``: what each answer means, where
    that is known. ``problem``: why the study's module could not read the text, where it could not.
    """

    rule: Rule
    sets: tuple[tuple[str, ...], ...]
    set_R: npt.NDArray[np.int32]
    role_R: tuple[str | None, ...]
    problem: str | None = None

    def of(self, response: int) -> tuple[str, ...] | None:
        """The options of one response, counted from 0; None where there are none."""
        return None if self.set_R[response] == _OPEN else self.sets[self.set_R[response]]

    def digest(self) -> str:
        """SHA-256 over the rule and the options of every response."""
        return hashlib.sha256(json.dumps([self.rule, self.sets, self.set_R.tolist()]).encode("utf-8")).hexdigest()


def cut_at_responses(text: str) -> tuple[list[str], list[str]]:
    """The text between the responses (before, between, after; without markers), and the responses."""
    responses = find_responses(text)
    starts = [0, *(response.end + 2 for response in responses)]
    ends = [*(response.start - 2 for response in responses), len(text)]
    segments = [text[start:end] for start, end in zip(starts, ends, strict=True)]
    return segments, [text[response.start : response.end] for response in responses]


def session_trials(transcript: Transcript, study: Study) -> list[Trial]:
    """A record per response, by the study's module. Raises ``UnreadableError`` for a text that is told otherwise."""
    return read_trials(study, *cut_at_responses(transcript.text))


def session_options(
    transcript: Transcript, labels: Mapping[str, tuple[str, ...]], own_studies: Mapping[str, Study] | None = None
) -> SessionOptions:
    """What each response of ``transcript`` could have been.

    ``labels``: per study without a module, the labels that everybody used (``shared_labels``). ``own_studies``: the
    user's own modules, which go before the catalog's. A text that the module cannot read is left to rule (c), and
    ``problem`` says why.
    """
    study = find_study(transcript.study, own_studies)
    problem = None
    if study is not None:
        try:
            trials = session_trials(transcript, study)
        except UnreadableError as error:
            problem = str(error)
        else:
            return _session_options("module", [trial.options for trial in trials], [trial.role for trial in trials])
    answers = _answers(transcript)
    offered = labels.get(transcript.study)
    rule: Rule = "labels of the study" if offered else "own answers"
    if offered:
        own = set(offered)
    else:
        said = _choices(answers)
        own = set(said) - _remarks(said)
        offered = tuple(sorted(own)) if 2 <= len(own) <= MAX_LABELS else None
    sets = [offered if answer in own or not (answer or is_other) else None for answer, is_other in answers]
    roles = [answer if rule == "labels of the study" and answer in own else None for answer, _ in answers]
    return _session_options(rule, sets, roles, problem)


def _answers(transcript: Transcript) -> list[tuple[str, bool]]:
    """The answers, "" where blank, and of each whether it is one to another question than the usual answers are.

    Usual are answers given more than once. Another question is one that was answered once or with nothing, and where
    the last word before the marker is none that stands before the usual answers, if these recur.
    """
    segments, said = cut_at_responses(transcript.text)
    answers = ["" if is_blank(answer) else answer for answer in said]
    times = Counter(filter(None, answers))
    words = [re.sub(r"\W", "", "".join(segment.rsplit(maxsplit=1)[-1:])) for segment in segments[:-1]]
    usual = [word for word, answer in zip(words, answers, strict=True) if times[answer] > 1]
    asked = set(usual)
    does_recur = len(usual) >= _TIMES_ASKED * max(1, len(asked))
    return [
        (answer, does_recur and times[answer] < 2 and word not in asked)
        for word, answer in zip(words, answers, strict=True)
    ]


def _choices(answers: Iterable[tuple[str, bool]]) -> list[str]:
    return [answer for answer, is_other in answers if answer and not is_other]


def _texts(answers: Sequence[str]) -> set[str]:
    """Answers of several words that were given once."""
    return {answer for answer, times in Counter(answers).items() if times == 1 and _SEVERAL_WORDS.match(answer)}


def _remarks(answers: Sequence[str]) -> set[str]:
    """Answers in words of one's own to another question, as "how did you choose?" after many choices.

    Each was given once. They are of several words where half of the answers or more are single characters; and they
    are longer, by more than a few characters, than the answers that make up nine tenths of the rest.
    """
    texts = _texts(answers) if 2 * sum(len(answer) == 1 for answer in answers) >= len(answers) else set()
    times = Counter(answer for answer in answers if answer not in texts)
    usual = [answer for answer, count in times.items() if count > 1]
    if len(usual) < 2 or sum(times[answer] for answer in usual) < _SHARE_OF_CHOICES * times.total():
        return texts
    longest = max(map(len, usual))
    return texts | {answer for answer, count in times.items() if count == 1 and len(answer) > longest + _LONGER}


def shared_labels(
    transcripts: Iterable[Transcript], own_studies: Mapping[str, Study] | None = None
) -> dict[str, tuple[str, ...]]:
    """Per study that no module reads: the 2 to ``MAX_LABELS`` labels that everybody chose among, if it seems so.

    Labels are those that at least two sessions used. They count as everybody's where they make up 99 % of the
    responses and one person used all of them: with letters drawn per person, nobody uses everybody's letters. Answers
    to other questions are no part of this, nor texts of several words of which most are one person's.
    """
    seen = LabelsSeen(own_studies or {})
    for transcript in transcripts:
        seen.add(transcript)
    return seen.shared()


@dataclass
class LabelsSeen:
    """``shared_labels``, session by session."""

    own_studies: Mapping[str, Study] = field(default_factory=dict)
    _of_study: dict[str, "_StudyAnswers"] = field(default_factory=dict)

    def add(self, transcript: Transcript) -> None:
        """Note the answers of a session of a study that no module reads."""
        if find_study(transcript.study, self.own_studies) is None:
            self._of_study.setdefault(transcript.study, _StudyAnswers()).add(_choices(_answers(transcript)))

    def shared(self) -> dict[str, tuple[str, ...]]:
        """Per study, the labels that everybody chose among, where it seems so."""
        return {study: labels for study, answers in self._of_study.items() if (labels := answers.shared())}


def session_items(transcript: Transcript, options: SessionOptions, study: Study | None) -> list[str | None]:
    """What recurs over people at each response: the module's item with its kind, else a digest of the text.

    The digest is of the text since the last response, without the rest of that response's line (before the first
    one: of the last line), and with the session's labels numbered in the order in which the text first names them, so
    that letters drawn per person do not tell items apart. None where a module says that there is no such thing.
    """
    if study is not None and options.rule == "module":
        return [trial.item and f"{trial.kind}: {trial.item}" for trial in session_trials(transcript, study)]
    labels = sorted({label for labels in options.sets for label in labels}, key=len, reverse=True)
    segments, _ = cut_at_responses(transcript.text)
    numbers: dict[str, str] = {}
    pattern = re.compile("|".join(rf"(?<!\w){re.escape(label)}(?!\w)" for label in labels) or r"(?!)")

    def numbered(match: re.Match[str]) -> str:
        return numbers.setdefault(match[0], f"<option {len(numbers) + 1}>")

    told = [pattern.sub(numbered, segment) for segment in segments[:-1]]
    trials = [*(segment.rpartition("\n")[2] for segment in told[:1]), *map(_from_next_line, told[1:])]
    digests = [hashlib.sha256(trial.strip().encode("utf-8", "surrogatepass")).hexdigest() for trial in trials]
    times = Counter(digests)
    return [None if times[digest] > max(1, _FRAME_SHARE * len(digests)) else digest for digest in digests]


@dataclass
class _StudyAnswers:
    """A study's answers; and, once there are texts among them, those that are none, with hashes of the texts."""

    all: "_Labels" = field(default_factory=lambda: _Labels())
    without_texts: "_Labels | None" = None
    n_texts: int = 0
    different: set[int] = field(default_factory=set)

    def add(self, answers: list[str]) -> None:
        texts = _texts(answers)
        if texts and self.without_texts is None:
            self.without_texts = deepcopy(self.all)
        self.all.add(answers)
        if self.without_texts is not None:
            self.without_texts.add([answer for answer in answers if answer not in texts])
        if len(self.different) < MAX_ANSWERS:
            self.n_texts += len(texts)
            self.different.update(map(hash, texts))

    def shared(self) -> tuple[str, ...] | None:
        labels = self.all.shared()
        if labels is None and self.without_texts and 2 * len(self.different) > self.n_texts:
            return self.without_texts.shared()
        return labels


@dataclass
class _Labels:
    """The answers that several of a study's sessions gave, as long as a few of them may be everybody's labels.

    ``number``: of each, its bit in the masks of the sessions that gave it; ``times``: its responses. Of an answer that
    one session alone gave, free texts mostly, a digest is kept, with that session and how often it gave it.
    """

    n_responses: int = 0
    number: dict[str, int] = field(default_factory=dict)
    times: list[int] = field(default_factory=list)
    masks: "array[int]" = field(default_factory=lambda: array("H"))
    once: dict[bytes, tuple[int, int]] = field(default_factory=dict)
    are_too_many: bool = False

    def add(self, answers: list[str]) -> None:
        if self.are_too_many:
            return
        session = len(self.masks)
        self.masks.append(0)
        self.n_responses += len(answers)
        for answer, times in Counter(answers).items():
            if answer not in self.number:
                digest = hashlib.blake2b(answer.encode("utf-8", "surrogatepass"), digest_size=8).digest()
                first = self.once.pop(digest, None)
                if first is None:
                    self.once[digest] = (session, times)
                    continue
                self.masks[first[0]] |= 1 << len(self.number)
                self.number[answer] = len(self.number)
                self.times.append(first[1])
            self.times[self.number[answer]] += times
            self.masks[session] |= 1 << self.number[answer]
            if len(self.number) > MAX_LABELS:
                break
        if len(self.number) > MAX_LABELS or len(self.number) + len(self.once) > MAX_ANSWERS:
            self.are_too_many = True
            self.number, self.times, self.masks, self.once = {}, [], array("H"), {}

    def shared(self) -> tuple[str, ...] | None:
        everything = (1 << len(self.number)) - 1
        if len(self.number) < 2 or sum(self.times) < _SHARE_OF_LABELS * self.n_responses:
            return None
        return tuple(sorted(self.number)) if everything in self.masks else None


def _from_next_line(segment: str) -> str:
    _, _, rest = segment.partition("\n")
    return rest if rest.strip() else segment


def _session_options(
    rule: Rule,
    options: list[tuple[str, ...] | None],
    roles: list[str | None],
    problem: str | None = None,
) -> SessionOptions:
    sets = {offered: number for number, offered in enumerate(dict.fromkeys(o for o in options if o is not None))}
    set_R = np.array([_OPEN if offered is None else sets[offered] for offered in options], np.int32)
    return SessionOptions(rule, tuple(sets), set_R, tuple(roles), problem)
