"""Starter sessions from questionnaires: personality, verbal aggression, and judgments on abortion."""

from collections.abc import Iterator

import pandas as pd

from centaurlab.data.starter.session import Session, assign_letters, known, rows, rows_by, shuffled

_PERSONALITY_INSTRUCTIONS = """\
You will read a number of statements that people use to describe themselves. For each one, please say \
how accurately it describes you as you generally are now, not as you wish to be in the future.
Choose 1 for very inaccurate, 2 for moderately inaccurate, 3 for slightly inaccurate, 4 for slightly \
accurate, 5 for moderately accurate, or 6 for very accurate.
"""
_PERSONALITY_ITEMS = {
    "A1": "Am indifferent to the feelings of others.",
    "A2": "Inquire about others' well-being.",
    "A3": "Know how to comfort others.",
    "A4": "Love children.",
    "A5": "Make people feel at ease.",
    "C1": "Am exacting in my work.",
    "C2": "Continue until everything is perfect.",
    "C3": "Do things according to a plan.",
    "C4": "Do things in a half-way manner.",
    "C5": "Waste my time.",
    "E1": "Don't talk a lot.",
    "E2": "Find it difficult to approach others.",
    "E3": "Know how to captivate people.",
    "E4": "Make friends easily.",
    "E5": "Take charge.",
    "N1": "Get angry easily.",
    "N2": "Get irritated easily.",
    "N3": "Have frequent mood swings.",
    "N4": "Often feel blue.",
    "N5": "Panic easily.",
    "O1": "Am full of ideas.",
    "O2": "Avoid difficult reading material.",
    "O3": "Carry the conversation to a higher level.",
    "O4": "Spend time reflecting on things.",
    "O5": "Will not probe deeply into a subject.",
}
_EDUCATION = {
    1: "some high school",
    2: "finished high school",
    3: "some college",
    4: "college graduate",
    5: "graduate degree",
}

_SITUATIONS = {
    "S1": "A bus fails to stop for you.",
    "S2": "You miss a train because a clerk gave you wrong information.",
    "S3": "The grocery store closes just as you are about to go in.",
    "S4": "The operator cuts you off when you have used up your last 10 cents for a call.",
}

# In the order of the interview. Each is a circumstance of a pregnancy.
_CIRCUMSTANCES = {
    "abdefect": "there is a strong chance that the baby has a serious defect",
    "abnomore": "she is married and does not want any more children",
    "abhlth": "the pregnancy puts her own health in serious danger",
    "abpoor": "her family has a very low income and cannot afford more children",
    "abrape": "she became pregnant because she was raped",
    "absingle": "she is not married and does not want to marry the man",
    "abany": "she wants it, whatever her reason",
}
_ABORTION_WAVE, _ABORTION_PEOPLE = 2018, 400


def personality_sessions(study: str, frame: pd.DataFrame) -> Iterator[Session]:
    """25 self-ratings from 1 to 6; the order that people saw is not recorded, here it is drawn by hash."""
    for row in rows(frame):
        participant = str(row["rownames"])
        answers = known(**{item: row[item] for item in _PERSONALITY_ITEMS})
        ratings = [
            f'Statement: "{_PERSONALITY_ITEMS[item]}" You choose <<{answers[item]}>>.'
            for item in shuffled(list(answers), study, participant, "items")
        ]
        if ratings:
            education = row["education"]
            metadata = known(
                age=row["age"],
                gender={1: "male", 2: "female"}[int(str(row["gender"]))],
                education=_EDUCATION[int(education)] if isinstance(education, float) and education > 0 else None,
            )
            yield Session(participant, "\n".join([_PERSONALITY_INSTRUCTIONS, *ratings]), metadata)


def verbal_aggression_sessions(study: str, frame: pd.DataFrame) -> Iterator[Session]:
    """24 questions: three reactions to four situations, first what one would want, then what one would do."""
    for participant, answers in rows_by(frame, "id"):
        letters = assign_letters(["yes", "perhaps", "no"], study, participant)
        keys = ", ".join(f"{letters[option]} for {option}" for option in letters)
        lines = [
            "You will read about annoying situations, and about ways to react to them. For each one, please "
            "say whether you would react like that.",
            f"Your answers are: {keys}.\n",
        ]
        for row in answers:
            item = str(row["item"])
            wish = "want to " if row["mode"] == "want" else ""
            answer = letters[str(row["resp"])]
            lines.append(f"{_SITUATIONS[item[:2]]} Would you {wish}{row['btype']}? You answer <<{answer}>>.")
        first = answers[0]
        metadata = known(gender={"M": "male", "F": "female"}[str(first["Gender"])], trait_anger=first["Anger"])
        yield Session(participant, "\n".join(lines), metadata)


def abortion_sessions(study: str, frame: pd.DataFrame) -> Iterator[Session]:
    """Up to seven yes-or-no judgments; 400 people of the 2018 wave, drawn by hash from those who gave any."""
    wave = frame[(frame["year"] == _ABORTION_WAVE) & frame[list(_CIRCUMSTANCES)].notna().any(axis=1)]
    chosen = set(shuffled([str(identity) for identity in wave["id"]], study, "sample")[:_ABORTION_PEOPLE])
    for row in rows(wave):
        participant = str(row["id"])
        if participant not in chosen:
            continue
        letters = assign_letters(["yes", "no"], study, participant)
        lines = [
            "In this interview you will be asked in which circumstances it should be possible for a pregnant "
            "woman to obtain a legal abortion.",
            "Your answers are: " + ", ".join(f"{letters[option]} for {option}" for option in letters) + ".\n",
        ]
        for item, approves in known(**{item: row[item] for item in _CIRCUMSTANCES}).items():
            answer = letters["yes" if approves else "no"]
            lines.append(f"Should it be possible if {_CIRCUMSTANCES[item]}? You answer <<{answer}>>.")
        schooling = known(years=row["educ"])
        metadata = known(
            age=row["age"],
            gender=str(row["sex"]).lower(),
            education=f"{schooling['years']} years of school" if schooling else None,
            race=row["race"],
            party=row["partyid"],
            religious_activity=row["relactiv"],
        )
        yield Session(participant, "\n".join(lines), metadata)
