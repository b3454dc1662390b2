"""sandbrink2024metacontrol: a lucky light that nobody sees but who looks; bets that may be switched; coins at the end.

The light changes after a round with the probability that the instructions name. A bet is executed with probability
½ + control / 2, where control is what the set's first line says (none, a little, some, a lot, complete: 0 to 1 in
quarters) or, where it says nothing, one of these at random. What sleeping adds is not told: 0.1 of control here, about
what bets after sleeping show.
"""

import re
from collections.abc import Mapping, Sequence

from centaurlab.catalog.studies import Ask, Trial, find_study, search
from centaurlab.data.transcripts import Transcript
from centaurlab.simulation.environments.environment import Environment, retold
from centaurlab.simulation.play import Chance, Play

_LIGHTS = ("blue", "red")
_LEVELS = 4
_PER_SLEEP = 0.1
_TOLD = re.compile(
    r"^\. You (?:bet on the \w+ light\. You (?:executed this bet successfully\. \n"
    r"|didn't execute this bet successfully and it is switched to the other light\. )"
    r"|observed and see the \w+ light up\. \n|slept and increased your control\. \n)"
)
_EARNED = re.compile(r"(?<=completed this set and earned )-?[\d.]+(?= coins)")


def _play(session: Transcript, chance: Chance) -> Play:
    study = find_study("sandbrink2024metacontrol")
    assert study is not None
    hazard = float(search(r"with a ([\d.]+)% chance of switching", session.text)[1]) / 100
    draw = chance.generator.random
    lucky, coins, control = 0, 0, -1.0

    def retell(asked: Ask, answer: str, past: Sequence[Trial], told: str) -> str:
        nonlocal lucky, coins, control
        if control < 0:  # a set begins
            known = asked.stimuli.get("control")
            level = float(chance.generator.integers(_LEVELS + 1))
            control = (known if isinstance(known, float) else level) / _LEVELS
            lucky, coins = int(draw() < 0.5), 0
        role = asked.role_of(answer)
        if role == "observe":
            said = f"observed and see the {chance.told('lucky', _LIGHTS[lucky])} light up. \n"
        elif role == "sleep":
            control = min(1.0, control + _PER_SLEEP)
            said = "slept and increased your control. \n"
        else:
            is_executed = chance.told("executed", bool(draw() < 0.5 + control / 2))
            coins += (_LIGHTS[lucky] == role) == is_executed
            said = f"bet on the {role} light. You " + (
                "executed this bet successfully. \n"
                if is_executed
                else "didn't execute this bet successfully and it is switched to the other light. "
            )
        lucky = 1 - lucky if draw() < hazard else lucky
        rest = told[search(_TOLD.pattern, told).end() :]
        if earned := _EARNED.search(rest):
            control = -1.0
            shown = chance.told("coins", f"{coins}.0" if "." in earned[0] else str(coins))
            rest = _EARNED.sub(shown, rest, count=1)
        return f". You {said}{rest}"

    return retold(study, session, retell)


def _happened(text: str) -> Mapping[str, Sequence[object]]:
    return {
        "lucky": re.findall(r"You observed and see the (\w+) light up", text),
        "executed": [word == "executed" for word in re.findall(r"You (executed|didn't execute) this bet", text)],
        "coins": _EARNED.findall(text),
    }


ENVIRONMENTS = (Environment("sandbrink2024metacontrol", _play, _happened),)
