"""shahar2019twosteptask: 70 % common transitions; rewards with probabilities that walk between 0.2 and 0.8.

The walks are the same for all people of a simulation, as they were in the study, but not those of the study, which are
not told. Which trials a person missed, and the pause before the second part, stay the person's.
"""

import re
from collections.abc import Mapping, Sequence

from centaurlab.catalog.studies import Ask, Trial, find_study, letters, search
from centaurlab.data.transcripts import Transcript
from centaurlab.simulation.environments.environment import Environment, retold
from centaurlab.simulation.environments.worlds import walk
from centaurlab.simulation.play import Chance, Play

_COMMON = 0.7
_LOW, _HIGH, _SD = 0.2, 0.8, 0.025
_MOST_TRIALS = 400


def _play(session: Transcript, chance: Chance) -> Play:
    study = find_study("shahar2019twosteptask")
    assert study is not None
    states = letters(search(r"second-stage states: (.*)\.", session.text)[1])
    p_TO = walk(chance.shared, _MOST_TRIALS, 4, _LOW, _HIGH, _SD)
    state = 0

    def retell(asked: Ask, answer: str, past: Sequence[Trial], told: str) -> str:
        nonlocal state
        option = (asked.options or ()).index(answer)
        if asked.kind == "first stage":  # the option named first leads to the state named second
            is_common = chance.generator.random() < _COMMON
            state = states.index(chance.told("state", states[1 - option if is_common else option]))
            return f". This leads to state {states[state]}. In state {states[state]}, you choose "
        p = p_TO[len(past) // 2 % _MOST_TRIALS, 2 * state + option]
        reward = chance.told("reward", "a" if chance.generator.random() < p else "no")
        return f". You receive {reward} reward{told[search(r'^. You receive (?:a|no) reward', told).end() :]}"

    return retold(study, session, retell)


def _happened(text: str) -> Mapping[str, Sequence[object]]:
    return {
        "state": re.findall(r"This leads to state (\w)\.", text),
        "reward": re.findall(r"You receive (a|no) reward", text),
    }


ENVIRONMENTS = (Environment("shahar2019twosteptask", _play, _happened),)
