"""alsobay2025publicGoodsGame: contributions to a public good, then rewards and deductions among up to 20 players.

Contributions are a choice among amounts. Whom to reward or deduct from, and how much, is an open list: a person may
name several players, and the text tells only those named. Leaving the game is told only where it happens ("You exited"
in place of "You contributed"), so it is no option of the others. Others' contributions answer one's own only later;
payoffs depend on both.
"""

import re
from collections.abc import Sequence
from dataclasses import replace

from centaurlab.catalog.studies.study import Ask, Study, Trial, Value, search

_GAME = {
    "players": r"a group of ([\d.]+) players",
    "endowment": r"a set amount of ([\d.]+) coins",
    "multiplier": r"money multiplier of ([\d.]+)\.\n",
    "deduction_cost": r"the punisher spends ([\d.]+) coin",
    "deduction_size": r"the punished player to lose ([\d.]+) coin",
    "reward_cost": r"the rewarder spends ([\d.]+) coin",
    "reward_size": r"and grants ([\d.]+) coin",
}


def _ask(segment: str, past: Sequence[Trial], opening: str) -> Ask:
    new_round = re.search(r"## Round (\d+)", segment)
    game = {name: float(found[1]) for name, pattern in _GAME.items() if (found := re.search(pattern, opening))}
    if segment.endswith("You contributed "):
        coins = (0, int(game["endowment"]))
        amounts = coins if "all of your" in opening else range(coins[1] + 1)
        options = tuple(f"{n} coin" if n == 1 else f"{n} coins" for n in amounts)
        block = int(search(r"## Round (\d+)", segment)[1])
        return Ask(
            options=options, roles=tuple(map(str, amounts)), kind="contribution", block=block, stimuli=dict(game)
        )
    search(r"(?:\A|\n)You \Z", segment)
    if new_round:
        return Ask(options=None, kind="exit", block=int(new_round[1]))
    return Ask(options=None, kind="reward or deduction", continues=True, stimuli=dict(game))


def _finish(trials: list[Trial]) -> list[Trial]:
    return [replace(trial, role=_role(trial), outcome=_outcome(trial)) for trial in trials]


def _role(trial: Trial) -> str | None:
    classes = {"did not": "nothing", "rewarded": "reward", "deducted": "deduction", "exited": "exit"}
    if trial.kind == "contribution":
        return trial.role
    return next((role for start, role in classes.items() if trial.answer.startswith(start)), None)


def _outcome(trial: Trial) -> dict[str, Value]:
    outcome: dict[str, Value] = {}
    if total := re.search(r"Total group contribution is ([\d.]+)", trial.after):
        outcome["total"] = float(total[1])
        others = re.findall(r"^([A-Z]+) contributed ([\d.]+) coin", trial.after, re.MULTILINE)
        outcome["others"] = tuple((player, float(coins)) for player, coins in others)
    if gain := re.search(r"^You: .*Total round gains/losses are ([+-][\d.]+) coin", trial.after, re.MULTILINE):
        outcome["gain"] = float(gain[1])
    return outcome


STUDIES = (
    Study("alsobay2025publicGoodsGame", _ask, first_trial=r"## Round 1\b", feedback="contingent", finish=_finish),
)
