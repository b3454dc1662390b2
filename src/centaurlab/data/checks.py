"""Where a session contradicts itself: things that no reader can be sure of, but that somebody should look at.

One list of checks for all who ask (``centaurlab data validate`` warns of them). ``doubts(transcripts)`` goes through
any transcripts once, as a stream, and yields a ``Doubt`` for each session and check; what only a whole study shows
(reward labels) comes last. ``session_doubts(transcript)`` gives those of one session alone. ``CHECKS`` says what each
of the checks (the name in ``Doubt.check``) means. A doubt is never an error: the session stays as it is.
"""

import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from centaurlab.catalog.studies import Study, UnreadableError, find_study
from centaurlab.data.lookalikes import KINDS, excerpt, lookalikes
from centaurlab.data.options import cut_at_responses, session_trials
from centaurlab.data.transcripts import Transcript, is_blank

REWARD_LABELS, RESPONSE_TIMES, FORCED, LETTERS = "reward labels", "response times", "forced choice", "letters twice"

CHECKS: Mapping[str, str] = {
    REWARD_LABELS: "'reward' and 'no reward' look swapped: people leave what is called rewarded, or nearly all is",
    RESPONSE_TIMES: "the metadata list another number of response times than there are responses",
    FORCED: "a response stands between markers though the text says that it was no choice of the person's",
    LETTERS: "one letter names two options",
    **KINDS,
}
"""What each check means, in a sentence."""

MOSTLY_REWARDED = 0.8
"""Share of rewarded responses above which labels are doubted, in a task whose text speaks of chance."""

TIMES = re.compile(r"rts?|(reaction|response)[ _-]?times?", re.IGNORECASE)
_LABEL = r"([A-Z]|\d+|[a-z]+)"
_ACT = r"(?:press|choose|select|pick|take|play)"
_NOUN = r"(?:the |an? )?(?:option|button|key|slot machine|machine|deck|door|arm|stock|response)?"
_ORDERED = re.compile(
    rf"\b(?:(?:forced|instructed|told|required|obliged|made|must)\b(?: to)? {_ACT} {_NOUN} ?['\"]?{_LABEL}\b"
    rf"|(?:can|may|could) only {_ACT} {_NOUN} ?['\"]?{_LABEL}\b"
    rf"|[Oo]nly {_NOUN} ?['\"]?{_LABEL}['\"]? (?:is|was) available)"
)
_ORDER_ENDS = re.compile(
    r"\b(?:(?:are|were|was|be|is) (?:forced|instructed|required|obliged) to \w+|must \w+"
    rf"|computer(?: randomly)? {_ACT}(?:e?s|d)?|computer chose|computer took)\b[^.?!\n]{{0,30}}$"
)
_LIST = re.compile(
    r"(?i:options?|keys?|buttons?|machines?|decks?|doors?|stocks?|arms?|between|label+ed|named|called|names are)\b"
    r"[^.\n]{0,40}?\b(['\"]?[A-Z]['\"]?(?:(?:, and |, or |, | and | or )['\"]?[A-Z]['\"]?\b)+)"
)
_MEANING = re.compile(
    r"\b(?i:press(?:ing)?|button|key|and|or) ['\"]?([A-Z])['\"]?"
    r" (?:to|for|if|when|means|=|in case of) ((?:(?!\bor\b|\band\b|\bpress)[^,.;\n])+)"
)
_REWARD = re.compile(r"\breward(?:ed)?\b", re.IGNORECASE)
_DENIED = re.compile(r"\b(?:no|not|without|zero|un)\b|n't\b|\b0\b", re.IGNORECASE)
_CHANCE = re.compile(r"\bprobabilit|\bchances?\b|\blikel|\brandom", re.IGNORECASE)
_MAX_LABELS, _SHARE_WITH_OUTCOME = 4, 0.8
_MIN_RESPONSES, _Z = 20, 3.29  # two-sided p = 0.001


@dataclass(frozen=True)
class Doubt:
    """What may be wrong, and where. ``check``: a name of ``CHECKS``. ``origin``: file and line, or the study."""

    check: str
    origin: str
    reason: str

    def __str__(self) -> str:
        return f"{self.origin}: {self.check}: {self.reason}"


def doubts(transcripts: Iterable[Transcript], own_studies: Mapping[str, Study] | None = None) -> Iterator[Doubt]:
    """Every doubt about ``transcripts``: of each session in their order, then of each study.

    ``own_studies``: modules of the user's own, which go before the catalog's.
    """
    outcomes: dict[str, _Outcomes] = {}
    for transcript in transcripts:
        yield from session_doubts(transcript, own_studies)
        outcomes.setdefault(transcript.study, _Outcomes()).add(transcript)
    for study, seen in outcomes.items():
        if reason := seen.doubt():
            yield Doubt(REWARD_LABELS, f"study {study}", reason)


def session_doubts(transcript: Transcript, own_studies: Mapping[str, Study] | None = None) -> Iterator[Doubt]:
    """The doubts about one session, at most one of each kind; reward labels are judged over a study alone."""
    segments, answers = cut_at_responses(transcript.text)
    found = {
        RESPONSE_TIMES: _times_doubt(transcript, len(answers)),
        FORCED: _forced_doubt(transcript, segments, answers, find_study(transcript.study, own_studies)),
        LETTERS: _letters_doubt(segments),
    }
    for kind, responses in lookalikes(transcript.text).items():
        more = f" and {len(responses) - 1} more" if len(responses) > 1 else ""
        found[kind] = f"{excerpt(responses[0])}{more}: {KINDS[kind]}"
    for check, reason in found.items():
        if reason:
            yield Doubt(check, transcript.origin, f"{reason} ({transcript.key})")


def _times_doubt(transcript: Transcript, n_responses: int) -> str | None:
    for name, value in transcript.metadata.items():
        if not TIMES.fullmatch(name):
            continue
        times = as_list(value)
        if times is not None and len(times) != n_responses:
            return f"`{name}` lists {len(times)} times, the text has {n_responses} responses"
    return None


def as_list(value: object) -> list[object] | None:
    """A list, also where it was written as text (``"[512, 430]"``); None for anything else."""
    if isinstance(value, str) and value.lstrip().startswith("["):
        try:
            value = json.loads(value)
        except ValueError:
            return None
    return value if isinstance(value, list) else None


def _forced_doubt(transcript: Transcript, segments: list[str], answers: list[str], study: Study | None) -> str | None:
    forced = [
        number
        for number, (segment, answer) in enumerate(zip(segments, answers, strict=False), start=1)
        if _is_ordered(segment, answer.strip())
    ]
    if study is not None:
        try:
            trials = session_trials(transcript, study)
        except UnreadableError:
            trials = []  # how a text differs from what the module expects, 'centaurlab data options' says
        alone = [number for number, trial in enumerate(trials, start=1) if len(trial.options or ("", "")) == 1]
        forced = sorted({*forced, *alone})
    if not forced:
        return None
    first = forced[0]
    told = " ".join(segments[first - 1].split())[-60:]
    return f"{len(forced)} of {len(answers)} responses, first response {first}: …{told} <<{answers[first - 1]}>>"


def _is_ordered(segment: str, answer: str) -> bool:
    line = segment.rpartition("\n")[2]
    if _ORDER_ENDS.search(line):
        return True
    named = {label for match in _ORDERED.finditer(line) for label in match.groups() if label}
    return named == {answer}


def _letters_doubt(segments: list[str]) -> str | None:
    for segment in segments:
        for found in _LIST.finditer(segment):
            letters = re.findall(r"\b[A-Z]\b", found[1])
            if len(set(letters)) < len(letters):
                return f"{' '.join(found[0].split())!r}"
    meanings: dict[str, str] = {}
    for letter, meaning in _MEANING.findall(segments[0]):
        said = " ".join(meaning.split())
        known = meanings.setdefault(letter, said)
        if known.casefold() != said.casefold():
            return f"{letter} stands for {known!r} and for {said!r}"
    return None


@dataclass
class _Outcomes:
    """What a study's people did after responses that are told as rewarded and as not rewarded."""

    n_rewarded: int = 0
    n_not: int = 0
    speaks_of_chance: bool = False
    stayed: dict[bool, int] = field(default_factory=lambda: {True: 0, False: 0})
    moved: dict[bool, int] = field(default_factory=lambda: {True: 0, False: 0})

    def add(self, transcript: Transcript) -> None:
        segments, answers = cut_at_responses(transcript.text)
        rewarded = [_is_rewarded(after) for after in segments[1:]]
        known = [outcome for outcome in rewarded if outcome is not None]
        if not known:
            return
        self.speaks_of_chance |= _CHANCE.search(segments[0]) is not None
        self.n_rewarded += sum(known)
        self.n_not += len(known) - sum(known)
        if len(set(answers)) > _MAX_LABELS or len(known) < _SHARE_WITH_OUTCOME * len(answers):
            return  # no repeated choice among few, each with its outcome: staying means nothing
        for answer, outcome, following in zip(answers, rewarded, answers[1:], strict=False):
            if outcome is not None and not (is_blank(answer) or is_blank(following)):
                (self.stayed if answer == following else self.moved)[outcome] += 1

    def doubt(self) -> str | None:
        n = self.n_rewarded + self.n_not
        if n < _MIN_RESPONSES or not (self.n_rewarded and self.n_not):
            return None
        share = self.n_rewarded / n
        if self.speaks_of_chance and share >= MOSTLY_REWARDED:
            return f"{share:.0%} of {n:,} responses are told as rewarded, in a task of chance"
        n_after = {outcome: self.stayed[outcome] + self.moved[outcome] for outcome in (True, False)}
        if min(n_after.values()) < _MIN_RESPONSES:
            return None
        stay = {outcome: self.stayed[outcome] / n_after[outcome] for outcome in n_after}
        pooled = sum(self.stayed.values()) / sum(n_after.values())
        error = math.sqrt(pooled * (1 - pooled) * sum(1 / count for count in n_after.values()))
        if error and (stay[False] - stay[True]) / error > _Z:
            return (
                f"people repeat {stay[True]:.0%} of the responses told as rewarded and {stay[False]:.0%} of those told "
                "as not rewarded"
            )
        return None


def _is_rewarded(after: str) -> bool | None:
    """Whether the text after a response, up to the end of its line, says that it was rewarded; None: neither."""
    line = after.partition("\n")[0]
    found = _REWARD.search(line)
    if found is None:
        return None
    sentence = re.split(r"[.!?;]\s", line[: found.start()])[-1]
    return not _DENIED.search(sentence)
