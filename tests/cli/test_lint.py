"""Every warning of ``centaurlab data lint`` has a file that triggers it and one, alike but for that, that does not."""

import pytest

from centaurlab.data import checks
from centaurlab.data.conventions import PROFILES, REMEDIES
from helpers.commands import centaurlab
from helpers.paths import PSYCH_201
from helpers.transcripts import write_transcripts

INTRO = "In this task you choose between two slot machines, {0} and {1}, and try to win points.\n"
LETTERS = ["JF", "QB", "XK", "UM", "RW", "TD"]


def sound(person: int, *trials: str, n: int = 6, **fields: object) -> dict[str, object]:
    letters = LETTERS[person]
    lines = trials or tuple(f"You press <<{letters[(person + i) % 2]}>>. You win {i} points." for i in range(n))
    text = INTRO.format(*letters) + "\n".join(line.replace("%", letters[0]) for line in lines)
    return {"text": text, "experiment": "slots2026", "participant": f"p{person}"} | fields


PEOPLE = [sound(person) for person in range(5)]


def changed(**fields: object) -> list[dict[str, object]]:
    return [sound(0, **fields), *PEOPLE[1:]]


def trials(*lines: str) -> list[dict[str, object]]:
    return [sound(0, *lines), *PEOPLE[1:]]


def same_labels(labels: str) -> list[dict[str, object]]:
    answers = [f"You press <<{label}>>. You win 1 point." for label in labels * 3]
    return [
        sound(p, *(a.replace("1 point", f"{p + i} points") for i, a in enumerate(answers)))
        | {"text": INTRO.format(*labels[:2]) + "\n".join(answers) + f" {p}"}
        for p in range(5)
    ]


REWARDED = [
    f"You press <<{'%Z'[i // 2 % 2]}>>. You receive {'a reward' if i % 10 else 'no reward'}, with some probability."
    for i in range(40)
]
SHARED, CONSTANT = ("".join(f"You press <<{'JF'[i % n]}>>. " for i in range(14)) for n in (2, 1))
SHORT = SHARED[: SHARED.index("<<F>>.") + 7]

CASES: dict[str, tuple[list[dict[str, object]], list[dict[str, object]]]] = {
    checks.RESPONSE_TIMES: (changed(RTs=[500, 400]), changed(RTs=[500, 400, 300, 500, None, 600])),
    checks.FORCED: (
        trials("You are instructed to press %. You press <<%>>."),
        trials("You are instructed to press %. You press %.", "You press <<%>>."),
    ),
    checks.LETTERS: (
        trials("The options are A, B, and A. You press <<A>>."),
        trials("The options are A, B, and C. You press <<A>>."),
    ),
    checks.REWARD_LABELS: (
        [
            sound(0, *REWARDED)
            | {"text": "Machines pay with some probability, and you choose.\n" + "\n".join(REWARDED)},
            *PEOPLE[1:],
        ],
        trials(*(line.replace("a reward", "points") for line in REWARDED)),
    ),
    "unit of times": (changed(RTs=[0.5, 0.4, 1.2, 0.6, 0.5, 0.7]), changed(RTs=[500, 400, 1200, 600, 500, 15])),
    "list of times": (changed(RTs=[["500"], 1, 1, 1, 1, 1]), changed(RTs=[500, 430, 350, 500, 600, None])),
    "negative times": (changed(RTs=[-500, 430, 350, 500, 600, 1]), changed(RTs=[500, 430, 350, 500, 600, 1])),
    "fixed labels": (same_labels("JF"), same_labels("12345")),
    "spaces": (trials("You press <<%>>.  You press << %>>."), trials("You press <<%>>. You win. You press <<%>>.")),
    "words within markers": (
        trials(*(f"You give <<{i} coins>>." for i in range(5))),
        trials(*(f"You give <<{i}>> coins." for i in range(5))),
    ),
    "no instructions": (
        [sound(0) | {"text": "You press <<J>>. You press <<F>>."}, *PEOPLE[1:]],
        [sound(0) | {"text": INTRO + "You press <<J>>. You press <<F>>."}, *PEOPLE[1:]],
    ),
    "condition told": (
        trials("Condition: incongruent. The word is red. You press <<%>>."),
        trials("Under this condition you win. The word is red. You press <<%>>."),
    ),
    "answer told": (
        trials("The dots move (correct answer: %). You press <<%>>."),
        trials("The dots move. You press <<%>>. The correct answer was %.", "The dots move. You press <<Z>>."),
    ),
    "too long": (trials("word " * 30_000 + "You press <<%>>."), trials("word " * 3_000 + "You press <<%>>.")),
    "same session twice": (
        [{**PEOPLE[0], "text": INTRO + SHARED}, {**PEOPLE[1], "text": INTRO + SHARED}, *PEOPLE[2:]],
        [
            *({**PEOPLE[p], "text": INTRO + SHORT} for p in (0, 1)),
            *({**PEOPLE[p], "text": INTRO + CONSTANT} for p in (2, 3)),
            {**PEOPLE[4], "text": INTRO + SHARED},
        ],
    ),
    "mark-up": (trials("<p>The word is red.</p> You press <<%>>."), trials("The word is red, 1 < 2. You press <<%>>.")),
    "unfilled text": (
        trials("You win nan points and {reward}. You press <<%>>."),
        trials("Nan wins, with a nan-bread. You press <<%>>."),
    ),
    "path as experiment": (
        [row | {"experiment": "/home/me/exp1.csv", "study": "s"} for row in PEOPLE],
        [row | {"experiment": "slots2026/exp1"} for row in PEOPLE],
    ),
    "mixed metadata": (
        [PEOPLE[0] | {"age": "31"}, PEOPLE[1] | {"age": 30}, *PEOPLE[2:]],
        [PEOPLE[0] | {"age": "NA"}, PEOPLE[1] | {"age": 30}, *PEOPLE[2:]],
    ),
    "third angle": (trials("You press <<<%>>."), trials("You press <<%>>.")),
    "code between markers": (trials("x << 3; y = z >> 1"), trials("x < 3; y = z > 1 <<%>>")),
    "no answer": (trials("You press <<null>>."), trials("You press <<%>>.")),
}


def kinds(done) -> set[str]:
    assert done.returncode == 0, done.stderr
    return {line.split(": ")[2] for line in done.stdout.splitlines() if line.startswith("warning: ")}


def test_every_check_has_a_case_and_a_remedy():
    assert set(CASES) == {*checks.CHECKS, *REMEDIES} - {"fields", "files"}
    assert not set(checks.CHECKS) - set(REMEDIES) - set(checks.KINDS)


@pytest.mark.parametrize("check", CASES)
def test_what_a_reviewer_would_ask_is_asked_with_line_and_remedy(check, tmp_path):
    bad, good = (write_transcripts(tmp_path / f"{i}.jsonl", rows) for i, rows in enumerate(CASES[check]))
    done = centaurlab("data", "lint", bad)
    assert check in kinds(done)
    lines = [line for line in done.stdout.splitlines() if f": {check}: " in line]
    assert all(line.startswith((f"warning: {bad}:", "warning: study ")) for line in lines)
    assert all(line.endswith(f"; {REMEDIES[check]}") for line in lines if check in REMEDIES)
    assert check not in kinds(centaurlab("data", "lint", good))


def test_sound_sessions_have_no_warning_and_strict_ends_in_exit_code_1(tmp_path):
    good = write_transcripts(tmp_path / "good.jsonl", PEOPLE)
    done = centaurlab("data", "lint", good, "--strict")
    assert (done.returncode, done.stdout.strip()) == (0, "5 sessions, 0 warnings")
    bad = write_transcripts(tmp_path / "bad.jsonl", CASES["spaces"][0])
    done = centaurlab("data", "lint", bad, "--strict")
    assert done.returncode == 1
    assert "1 warnings" in done.stderr


def test_malformed_sessions_are_left_to_validation(tmp_path):
    path = write_transcripts(tmp_path / "s.jsonl", [*PEOPLE, sound(5) | {"text": "You press <<J"}])
    assert (
        "1 of 6 sessions are malformed; 'centaurlab data validate' names them" in centaurlab("data", "lint", path).error
    )


def test_a_kind_that_is_met_often_is_shown_five_times(tmp_path):
    rows = [row | {"experiment": f"e{n}.csv", "study": "s"} for n, row in enumerate((*PEOPLE, sound(5)))]
    path = write_transcripts(tmp_path / "s.jsonl", rows)
    done = centaurlab("data", "lint", path)
    assert done.stdout.count("path as experiment: ") == 5
    assert "warning: … and 1 more: path as experiment" in done.stdout
    write_transcripts(path, [row | {"experiment": "e.csv"} for row in rows])
    assert "path as experiment 1)" in centaurlab("data", "lint", path).stdout, "one for an experiment"


@pytest.mark.parametrize(
    ("profile", "line", "files"),
    [
        ("psych-201", {"RTs": [1] * 6}, ["README.md", "generate_prompts.py"]),
        (
            "psychling-101",
            {"rt": [1] * 6},
            [
                *("README.md", "CODEBOOK.csv", "original_data", "processed_data", "preprocess_data.R"),
                "generate_prompts.py",
            ],
        ),
    ],
)
def test_a_profile_asks_for_the_fields_and_files_of_its_collection(profile, line, files, tmp_path):
    folder = tmp_path / "slots2026"
    folder.mkdir()
    known = PROFILES[profile]
    write_transcripts(folder / "prompts.jsonl", [row | line for row in PEOPLE])
    wrong = centaurlab("data", "lint", folder, "--profile", "psychling-101" if profile == "psych-201" else "psych-201")
    assert "calls reaction times `" in wrong.stdout
    done = centaurlab("data", "lint", folder, "--profile", profile)
    assert "there is no README.md" in done.stdout
    assert "there is no prompts.jsonl.zip" in done.stdout
    assert "more: files" not in done.stdout, "each file is named"
    for name in files:
        (folder / name).touch()
    done = centaurlab("data", "lint", folder, "--profile", profile)
    assert [line for line in done.stdout.splitlines() if ": files: " in line] == [
        f"warning: {folder}: files: there is no prompts.jsonl.zip; {REMEDIES['files']}"
    ]
    assert ("calls the person" in done.stdout) == (known.participant == "participant_id")


@pytest.mark.skipif(not PSYCH_201.exists(), reason="needs studies of Psych-201")
def test_what_is_found_in_published_studies_is_there():
    done = centaurlab("data", "lint", PSYCH_201)
    counts = done.stdout.splitlines()[-1]
    assert "list of times 24, path as experiment 23, words within markers 6" in counts
    assert "<<20 coins>>" in done.stdout
