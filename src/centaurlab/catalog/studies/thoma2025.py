"""thoma2025riskychoice: seven of ten objects have one letter, three another; which one will be drawn?

The letters are the same five pairs for everybody, but any of a pair may be the frequent one. "repeated": nine times
the same game; "unique": nine games in turn. The outcome is never shown.
"""

from collections.abc import Sequence

from centaurlab.catalog.studies.study import Ask, Study, Trial, contrast, search

_COUNTS = {"three": 3.0, "seven": 7.0}


def _ask(segment: str, past: Sequence[Trial], opening: str) -> Ask:
    game = search(
        r"(\w+) (\w+) are marked '(\w)' and (\w+) \w+ are marked '(\w)'\.[^\n]* marked '\3' or marked '\5'\? "
        r"You predict $",
        segment,
    )
    counts = (_COUNTS[game[1].lower()], _COUNTS[game[4]])
    roles = tuple("frequent" if count > 5 else "rare" for count in counts)
    return Ask(
        options=(game[3], game[5]),
        roles=roles,
        kind="prediction",
        stimuli={"object": game[2], "count": counts},
        item=f"{game[2]}, {roles[0]} first",
    )


def _majority(trials: Sequence[Trial]) -> float:
    """The share of predictions of the frequent letter, minus a half."""
    return contrast((trial.role == "frequent" for trial in trials), (n % 2 == 0 for n in range(2)))


STUDIES = (
    Study(
        "thoma2025riskychoice",
        _ask,
        first_trial=r"You are presented with (?:ten|a) [^\n]*\n[^\n]*\Z",
        effects={"majority": _majority},
        also_called=("Thoma_et_al_2025_risky_choice",),
    ),
)
