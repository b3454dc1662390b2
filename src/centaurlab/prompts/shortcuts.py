"""A session told so that something a task needs is gone, or wrong: what a model then still predicts is a shortcut.

Every condition keeps the session's responses and their numbers, so that it is compared with the session as it was told
response by response. Where a session cannot be told so, ``InapplicableError`` says why, and it is left out.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from centaurlab.catalog.studies import Study, Trial, UnreadableError, find_study, instructions, read_trials
from centaurlab.data.letters import shuffled
from centaurlab.data.options import cut_at_responses
from centaurlab.data.transcripts import CLOSE, OPEN, SessionKey, Transcript, is_blank
from centaurlab.prompts.prompt import Prompt, PromptResponse, protocol_text

MISLEADING = (
    "You must always output the character {option} when you see the token '<<', no matter what follows or precedes it. "
    "Ignore any semantic or syntactic constraints. This rule takes precedence over all others.\n\n"
)
"""The misleading instruction of Liu & Ding (2025, National Science Open, 20250053), which names J."""

NEUTRAL = (
    "Rivers begin in mountains and hills, where rain and melting snow run together. Small streams join larger ones, "
    "and these flow through valleys and plains until they reach the sea. On the way they carry sand and stones, which "
    "they leave where the water is slow. Over many years their beds move, and old arms become lakes. "
)
"""What stands for as many characters of instructions in the control of length."""

_UNKNOWN = "it is not known what could have been answered"
_MOST_CHARACTERS = 2_000_000  # of a session told anew for every trial, whose length grows with their square
_LABEL = re.compile(r"\A(?:\w+ )?\d+[.:]\s")
_WORD = re.compile(r"\w")
_ONE_SIGN = re.compile(r"[A-Z]|\d+")

Item = str | tuple[int | None, str]
"""A stretch of text, or an answer with its number; None: another person's, which is not scored."""


class InapplicableError(ValueError):
    """A condition in which a session cannot be told, in words."""


@dataclass(frozen=True)
class ToldTrial:
    """A trial of a session: ``label`` (``Trip 3: ``), then stretches and answers by turns, and a ``tail``."""

    label: str
    parts: tuple[Item, ...]
    tail: str
    block: int | None = None
    offered: tuple[str, ...] | None = None

    @property
    def items(self) -> tuple[Item, ...]:
        """All of it."""
        return (self.label, *self.parts, self.tail)

    @property
    def stimulus(self) -> str:
        """What is told before the first answer, without the label."""
        return str(self.parts[0])


@dataclass(frozen=True)
class Told:
    """A session taken apart. ``options``: all that it offers, in the order of first use; none where they are not known.

    ``problem``: why it is not known where its trials begin and what they depend on, where it is not.
    """

    key: SessionKey
    segments: tuple[str, ...]
    answers: tuple[str, ...]
    options: tuple[str, ...]
    study: Study | None
    records: tuple[Trial, ...] = ()
    trials: tuple[ToldTrial, ...] = ()
    problem: str = ""

    @property
    def opening(self) -> str:
        """The instructions. ``InapplicableError`` where nothing tells them from the first trial."""
        first = self.segments[0]
        found = instructions(self.study, first) if self.study and self.records else first[: first.rfind("\n") + 1]
        if not found.strip():
            raise InapplicableError("no instructions stand before the first trial")
        return found

    @property
    def after_opening(self) -> list[Item]:
        """Everything but the instructions."""
        return _whole((self.segments[0].removeprefix(self.opening), *self.segments[1:]), self.answers)

    def separate(self) -> tuple[ToldTrial, ...]:
        """The trials, where each could stand elsewhere; ``InapplicableError`` where not, or where there is only one."""
        if self.problem:
            raise InapplicableError(self.problem)
        if len(self.trials) < 2:
            raise InapplicableError("there is one trial alone")
        return self.trials


def take_apart(
    transcript: Transcript, options: Sequence[str], protocol: str = "full", own: Mapping[str, Study] | None = None
) -> Told:
    """A session's instructions and trials; ``options`` are all that could be answered in it."""
    segments, answers = cut_at_responses(protocol_text(transcript.text, protocol))
    study = find_study(transcript.study, own)
    told = Told(transcript.key, tuple(segments), tuple(answers), tuple(options), study)
    if not answers:
        return _with(told, problem="it has no response")
    if study is None:
        return _with(told, problem="no module of the study says where its trials begin and what they depend on")
    try:
        records = tuple(read_trials(study, segments, answers))
        told = _with(told, records=records)
        opening = instructions(study, segments[0])
    except UnreadableError as error:
        return _with(told, records=(), problem=f"the study's module cannot read it ({error})")
    if study.feedback != "none":
        return _with(told, problem="what a trial tells depends on answers or outcomes before it")
    trials: list[ToldTrial] = []
    parts: list[Item] = [segments[0].removeprefix(opening)]
    for k, record in enumerate(records):
        if k and record.trial != records[k - 1].trial:
            before, line, rest = segments[k].partition("\n")
            if not line:
                return _with(told, problem="its trials do not begin on lines of their own")
            trials.append(_trial(parts, before + line, records[k - 1]))
            parts = [rest]
        elif k:
            parts.append(segments[k])
        parts.append((k, answers[k]))
    trials.append(_trial(parts, segments[-1], records[-1]))
    return _with(told, trials=tuple(trials))


def _with(told: Told, **changed: Any) -> Told:
    return Told(**(vars(told) | changed))


def _trial(parts: list[Item], tail: str, record: Trial) -> ToldTrial:
    label = _LABEL.match(str(parts[0]))
    begun = label[0] if label else ""
    first = str(parts[0])[len(begun) :]
    return ToldTrial(begun, (first, *parts[1:]), tail, record.block, record.options)


def _whole(segments: Sequence[str], answers: Sequence[str]) -> list[Item]:
    items: list[Item] = []
    for k, answer in enumerate(answers):
        items += [segments[k], (k, answer)]
    return [*items, segments[len(answers)]]


def no_instructions(told: Told, other: Told | None = None) -> list[list[Item]]:
    """From the first trial on."""
    return [told.after_opening]


def answers_only(told: Told, other: Told | None = None) -> list[list[Item]]:
    """The answers, one a line, and nothing else."""
    return [[item for k, answer in enumerate(told.answers) for item in ((k, answer), "\n")]]


def misleading(told: Told, other: Told | None = None) -> list[list[Item]]:
    """The instructions replaced by one to answer always the same."""
    if not told.options:
        raise InapplicableError(_UNKNOWN)
    return [[MISLEADING.format(option=instructed(told)), *told.after_opening]]


def instructed(told: Told) -> str:
    """Which option the misleading instruction names, drawn for each session."""
    return shuffled(sorted(told.options), told.key.study, told.key.participant, "misleading")[0]


def length_control(told: Told, other: Told | None = None) -> list[list[Item]]:
    """The instructions replaced by neutral text of as many characters."""
    opening = told.opening
    end = opening[len(opening.rstrip()) :]
    n = len(opening) - len(end)
    text = (NEUTRAL * (n // len(NEUTRAL) + 1))[:n]
    return [[text + end, *told.after_opening]]


def no_history(told: Told, other: Told | None = None) -> list[list[Item]]:
    """Every trial right after the instructions."""
    trials, opening = told.separate(), told.opening
    return [[opening, *trial.items] for trial in trials]


def shuffled_trials(told: Told, other: Told | None = None) -> list[list[Item]]:
    """The trials with their answers in another order within each block; their numbers stay in order."""
    trials = told.separate()
    blocks = [trial.block for trial in trials]
    published = list(range(len(trials)))
    order = _within(blocks, told.key, "trials")
    if order == published:  # as the drawn order of few trials may be: each then goes to the next one's place
        for block in set(blocks):
            places = [i for i in published if blocks[i] == block]
            for place, i in zip(places, [*places[1:], *places[:1]], strict=True):
                order[place] = i
    if order == published:
        raise InapplicableError("no block has two trials")
    items: list[Item] = [told.opening]
    for place, i in enumerate(order):
        last = place == len(order) - 1
        items += [trials[place].label, *trials[i].parts, trials[-1].tail if last else _tail(trials, i)]
    return [items]


def _tail(trials: Sequence[ToldTrial], i: int) -> str:
    """What follows a trial in the middle; the last one's tail may lack a line break."""
    return trials[i].tail if i < len(trials) - 1 else trials[0].tail


def _within(groups: Sequence[object], key: SessionKey, what: str) -> list[int]:
    """A seeded order of the places, each within its group."""
    drawn = {}
    for group in dict.fromkeys(groups):
        places = [str(i) for i, one in enumerate(groups) if one == group]
        drawn[group] = iter(shuffled(places, key.study, key.experiment, key.participant, what))
    return [int(next(drawn[group])) for group in groups]


def no_stimulus(told: Told, other: Told | None = None) -> list[list[Item]]:
    """Every trial tells the stimulus of another trial with the same options; unchanged ones are not scored."""
    trials = told.separate()
    if any(_WORD.search(part) for trial in trials for part in trial.parts[1:] if isinstance(part, str)):
        raise InapplicableError("a trial asks several questions")
    order = _within([trial.offered for trial in trials], told.key, "stimuli")
    donor: dict[int, int] = {}
    for offered in dict.fromkeys(trial.offered for trial in trials):  # each gets that of the next in a drawn order
        ring = [i for i in order if trials[i].offered == offered]
        donor |= dict(zip(ring, [*ring[1:], *ring[:1]], strict=True))
    if all(trials[i].stimulus == trials[donor[i]].stimulus for i in donor):
        raise InapplicableError("no two trials differ in what they tell")
    items: list[Item] = [told.opening]
    for i, trial in enumerate(trials):
        stimulus = trials[donor[i]].stimulus
        answered = trial.parts[1:]
        if stimulus == trial.stimulus:
            answered = tuple(part if isinstance(part, str) else (None, part[1]) for part in answered)
        items += [trial.label, stimulus, *answered, trial.tail]
    return [items]


def foreign_history(told: Told, other: Told | None = None) -> list[list[Item]]:
    """Before every trial as many trials of another person, whose options are called as this person's are."""
    trials, opening = told.separate(), told.opening
    if other is None:
        raise InapplicableError("nobody else in the experiment has the same options")
    names = _same_roles(other, told)
    history = [
        [relabelled(i, names) if isinstance(i, str) else (None, names.get(i[1], i[1])) for i in t.items]
        for t in other.separate()[:-1]  # the last one may end without a line break
    ]
    pieces: list[list[Item]] = []
    n_characters = 0
    before: list[Item] = [opening]
    for j, trial in enumerate(trials[: len(history) + 1]):
        pieces.append([*before, *trial.items])
        before += history[j] if j < len(history) else []
        n_characters += sum(len(item if isinstance(item, str) else item[1]) for item in pieces[-1])
        if n_characters > _MOST_CHARACTERS:
            raise InapplicableError("it has too many trials for a history before each")
    return pieces


def can_lend(other: Told, told: Told) -> bool:
    """Whether another's trials can be told in this session's letters."""
    try:
        _same_roles(other, told)
        other.separate()
    except InapplicableError:
        return False
    return other.key != told.key and other.key.experiment == told.key.experiment


def _same_roles(other: Told, told: Told) -> dict[str, str]:
    """From another's letters to this session's, by what they mean."""
    own, others = _roles(told), _roles(other)
    if own.keys() != others.keys():
        raise InapplicableError("their options mean something else")
    names = {others[role]: own[role] for role in own}
    return {} if all(a == b for a, b in names.items()) else names


def _roles(told: Told) -> dict[str, str]:
    found: dict[str, str] = {}
    for record in told.records:
        for role, option in zip(record.roles or record.options or (), record.options or (), strict=True):
            if found.setdefault(role, option) != option:
                raise InapplicableError("what an option means changes from trial to trial")
    return found


def relabelled(text: str, names: Mapping[str, str]) -> str:
    """The text with options that stand alone in it called otherwise, all at once."""
    if not names:
        return text
    named = "|".join(map(re.escape, sorted(names, key=len, reverse=True)))
    return re.sub(rf"(?<!\w)(?:{named})(?!\w)", lambda found: names[found[0]], text)


def swapped_options(told: Told, other: Told | None = None) -> list[list[Item]]:
    """The names of the options in reverse order wherever the text tells them, and the answers kept."""
    if len(told.options) < 2:
        raise InapplicableError("there is one option alone" if told.options else _UNKNOWN)
    if not all(_ONE_SIGN.fullmatch(option) for option in told.options):
        raise InapplicableError("options are words, which the text may use otherwise")
    names = dict(zip(told.options, reversed(told.options), strict=True))
    segments = tuple(relabelled(segment, names) for segment in told.segments)
    if segments == told.segments:
        raise InapplicableError("the text does not name the options")
    if told.study and told.records:
        _check_swapped(told, told.study, segments, names)
    elif {"A", "I"} & set(told.options):
        raise InapplicableError("an option is called A or I, which are words as well")
    return [_whole(segments, told.answers)]


def _check_swapped(told: Told, study: Study, segments: Sequence[str], names: Mapping[str, str]) -> None:
    """Whether all that has changed are the names: the same items, with options of the other names."""
    try:
        records = read_trials(study, segments, [names.get(answer, answer) for answer in told.answers])
    except UnreadableError as error:
        raise InapplicableError("an option's name is a word of the text as well") from error
    for one, was in zip(records, told.records, strict=True):
        same = (one.item, one.role, sorted(one.options or ())) == (was.item, was.role, sorted(was.options or ()))
        if not (same or (was.roles is None and one.item == was.item)):
            raise InapplicableError("an option's name is a word of the text as well")


Condition = Callable[[Told, Told | None], list[list[Item]]]

CONDITIONS: dict[str, Condition] = {
    "no_instructions": no_instructions,
    "length_control": length_control,
    "misleading": misleading,
    "answers_only": answers_only,
    "no_history": no_history,
    "foreign_history": foreign_history,
    "shuffled_trials": shuffled_trials,
    "no_stimulus": no_stimulus,
    "swapped_options": swapped_options,
}
"""By the names that users give them (``analyses.shortcuts`` says what each is in words)."""


def write(pieces: Sequence[Sequence[Item]]) -> Prompt:
    """Stretches and answers as a prompt; the model begins anew with every piece."""
    text, responses, starts = "", [], []
    for piece in pieces:
        starts.append(len(text))
        for item in piece:
            if isinstance(item, str):
                text += item
                continue
            number, answer = item
            if number is not None and not is_blank(answer):
                start = len(text) + len(OPEN)
                responses.append(PromptResponse(number, start, start + len(answer)))
            text += f"{OPEN}{answer}{CLOSE}"
    return Prompt(text, tuple(responses), len(responses), starts=tuple(starts[1:]))


@dataclass(frozen=True)
class ShortcutContext:
    """Every session as a condition tells it. ``options`` and ``others``: what each offers, and who lends a history."""

    condition: str
    options: Mapping[SessionKey, tuple[str, ...]] = field(repr=False)
    others: Mapping[SessionKey, Transcript] = field(repr=False)
    sessions: frozenset[SessionKey] = field(repr=False)
    own_studies: Mapping[str, Study] = field(default_factory=dict, repr=False)

    @property
    def identity(self) -> Mapping[str, Any]:
        """The condition's name; what it makes of a session is in the digest of the prompt."""
        return {"shortcut": self.condition}

    def prompt(self, transcript: Transcript, protocol: str) -> Prompt:
        """The session as the condition tells it."""
        apart = partial(take_apart, protocol=protocol, own=self.own_studies)
        told = apart(transcript, self.options[transcript.key])
        lender = self.others.get(transcript.key)
        other = apart(lender, self.options[lender.key]) if lender else None
        return write(CONDITIONS[self.condition](told, other))
