"""alsobay2025publicGoodsGame: the others do what they did in the person's game; what all earn is computed anew.

So it is an approximation: the others would have answered another contribution. Of rewards and deductions the model is
asked as often as the person was, and no more once it says that it gives none; what it says otherwise than people do,
and what the game would not let it give, costs and changes nothing. Where the person left the game, the model does.
"""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from centaurlab.catalog.studies import UnreadableError, ask_next, find_study
from centaurlab.data.options import cut_at_responses
from centaurlab.data.transcripts import Transcript
from centaurlab.simulation.environments.environment import Environment
from centaurlab.simulation.play import Chance, Play, Question

_TOTAL = re.compile(r"Total group contribution is ([\d.]+) coins, multiplied by ([\d.]+) => ([\d.]+) coins in the")
_CONTRIBUTED = re.compile(r"^([A-Z]+) contributed ([\d.]+) coins?\.$", re.MULTILINE)
_SUMMARY = re.compile(r"^(You|[A-Z]+): (.*?)Total round gains/losses are ([+-]\d+) coins?\.$", re.MULTILINE)
_COUNTED = re.compile(r"([\d.]+) coins? (spent on deductions|deducted by|spent on rewards|rewarded)")
_KINDS = ("spent on deductions", "deducted by", "spent on rewards", "rewarded")
"""What a player's line of the summary may count, in its order."""
_ACTS = {
    "rewarded": re.compile(r"rewarded (?P<whom>[A-Z]+), granting them (?P<coins>\d+(?:\.\d+)?) coins?"),
    "deducted by": re.compile(r"deducted (?P<coins>\d+(?:\.\d+)?) coins? from (?P<whom>[A-Z]+)"),
}


@dataclass(frozen=True)
class _Act:
    """A reward or deduction; ``kind``: as the summary of ``whom`` counts it; ``cost``: to who gives it."""

    kind: str
    whom: str
    coins: float
    cost: float


@dataclass(frozen=True)
class _Game:
    """The rules. ``units``: of a kind of act, what a unit costs who gives it and is for who gets it."""

    endowment: float
    units: Mapping[str, tuple[float, float]]

    def acts(self, said: Iterable[str]) -> list[_Act]:
        """What was done; whatever is said otherwise than people say it is nothing."""
        found = []
        for kind, (cost, size) in self.units.items():
            for match in filter(None, map(_ACTS[kind].fullmatch, said)):
                coins = float(match["coins"])
                found.append(_Act(kind, match["whom"], coins, coins / size * cost))
        return found


def _game(opening: str) -> _Game:
    number = r"([\d.]+) coins?"
    endowment = re.search(r"a set amount of ([\d.]+) coins", opening)
    if endowment is None:
        raise UnreadableError("the instructions name no set amount of coins")
    units = {
        "deducted by": re.search(
            rf"the punisher spends {number}, causing the punished player to lose {number}", opening
        ),
        "rewarded": re.search(rf"the rewarder spends {number} and grants {number}", opening),
    }
    return _Game(float(endowment[1]), {kind: (float(of[1]), float(of[2])) for kind, of in units.items() if of})


@dataclass(frozen=True)
class _Round:
    """A round as the person was told it (``outcome``), with another own contribution than ``person``'s."""

    game: _Game
    outcome: str
    person: float
    own: float

    def fund(self, own: float) -> tuple[float, float]:
        """What all contribute, ``own`` among it, and what the public fund is then."""
        found = _TOTAL.search(self.outcome)
        if found is None:
            raise UnreadableError(f"no total of contributions in {self.outcome[:80]!r}")
        total = float(found[1]) - self.person + own
        return total, total * float(found[2])

    def allowed(self, acts: Iterable[_Act]) -> list[_Act]:
        """Those of ``acts`` that a player may do: whole units, to who contributed, of what the round gave."""
        others = {name for name, _ in _CONTRIBUTED.findall(self.outcome)}
        left = self.game.endowment - self.own + self.fund(self.own)[1] / (len(others) + 1)
        found = []
        for act in acts:
            units = act.coins / self.game.units[act.kind][1]
            if act.whom in others and abs(units - round(units)) < 1e-9 and act.cost <= left + 1e-9:
                found.append(act)
                left -= act.cost
        return found

    def tell_outcome(self) -> str:
        """The outcome, and whatever stands in the same text."""
        total, fund = self.fund(self.own)
        return _TOTAL.sub(
            lambda m: (
                f"Total group contribution is {total:.10g} coins, multiplied by {m[2]} => {fund:.10g} coins in the"
            ),
            self.outcome,
            count=1,
        )

    def tell_summary(self, text: str, person: Sequence[_Act], own: Sequence[_Act]) -> str:
        """The summary in ``text``, where the person's acts are counted, with others in their place.

        Players who left in the middle of a round still are among those who contributed, not among those who share; how
        many share is what the person's own gain shows. What a told gain is beside the rules stays beside them.
        """
        contributed = {name: float(coins) for name, coins in _CONTRIBUTED.findall(self.outcome)} | {"You": self.person}
        (_, theirs), (_, fund) = self.fund(self.person), self.fund(self.own)
        told_own = next((told for told in _SUMMARY.finditer(text) if told[1] == "You"), None)
        n_players = len(contributed)
        if told_own is not None:
            fits = (
                n
                for n in range(n_players, max(0, n_players - 4), -1)
                if _rounded(self._gain(_counts(told_own[2]), self.person, theirs / n)) == float(told_own[3])
            )
            n_players = next(fits, n_players)

        def line(told: re.Match[str]) -> str:
            name = told[1]
            counts = _counts(told[2])
            expected = _rounded(self._gain(counts, contributed[name], theirs / n_players))
            for acts, sign in ((person, -1), (own, 1)):
                for act in acts:
                    if name == "You":
                        paid = "spent on deductions" if act.kind == "deducted by" else "spent on rewards"
                        counts[paid] += sign * act.cost
                    elif name == act.whom:
                        counts[act.kind] += sign * act.coins
            given = self.own if name == "You" else contributed[name]
            gain = _rounded(self._gain(counts, given, fund / n_players)) + int(told[3]) - expected
            by = {"rewarded": "rewarded other players" if name == "You" else "rewarded by other players"}
            by["deducted by"] = "deducted by other players"
            words = "".join(f"{_coins(counts[kind])} {by.get(kind, kind)}. " for kind in _KINDS if counts[kind] > 1e-9)
            return f"{name}: {words}Total round gains/losses are {gain:+d} coin{'s' * (abs(gain) != 1)}."

        return _SUMMARY.sub(line, text)

    def _gain(self, counts: Mapping[str, float], contributed: float, share: float) -> float:
        lost = sum(counts[kind] for kind in _KINDS[:3])
        return self.game.endowment - contributed + share + counts["rewarded"] - lost


def _counts(words: str) -> dict[str, float]:
    return dict.fromkeys(_KINDS, 0.0) | {kind: float(coins) for coins, kind in _COUNTED.findall(words)}


def _rounded(gain: float) -> int:
    """Halves up, as the game did."""
    return math.floor(gain + 0.5 + 1e-9)


def _coins(number: float) -> str:
    return f"{number:.10g} coin{'s' * (number != 1)}"


def _is_statement(segment: str) -> bool:
    return segment.endswith("You ") and "## Round " not in segment.rpartition("### Round Summary")[2]


def _play(session: Transcript, chance: Chance) -> Play:
    study = find_study("alsobay2025publicGoodsGame")
    assert study is not None
    segments, answers = cut_at_responses(session.text)
    game = _game(segments[0])
    n, text = 0, segments[0]
    while n < len(answers):
        asked = ask_next(study, segments[n], (), segments[0])
        if asked.kind == "exit":
            yield Question(text, ("exited the game",), segments[n + 1])
            n, text = n + 1, segments[n + 1]
            continue
        contributed = yield Question(text, asked.options, segments[n + 1])
        now = _Round(game, segments[n + 1], *(float(said.split()[0]) for said in (answers[n], contributed)))
        end = n + 1
        while end < len(answers) and _is_statement(segments[end]):
            end += 1
        text, said = now.tell_outcome(), list[str]()
        for after in segments[n + 2 : end + 1]:
            said.append((yield Question(text, None, after)))
            text = after
            if said[-1].startswith("did not"):
                text = segments[end]
                break
        text = now.tell_summary(text, game.acts(answers[n + 1 : end]), now.allowed(game.acts(said)))
        n = end
    return text


def _happened(text: str) -> Mapping[str, Sequence[object]]:
    return {}


ENVIRONMENTS = (Environment("alsobay2025publicGoodsGame", _play, _happened, "approximate"),)
