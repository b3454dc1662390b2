"""A run of scoring says whose its sessions are, where people have several, and nothing of it where nobody has."""

from pathlib import Path

from centaurlab.data.source import DataArguments
from centaurlab.results.joined import join_scores
from centaurlab.results.run import read_run
from centaurlab.results.table import PERSON, read_scores
from centaurlab.scoring.arguments import ScoreArguments
from centaurlab.scoring.run import measure
from helpers.tiny_models import named
from helpers.transcripts import sessions_of, two_keys, write_transcripts


def test_scores_name_people_of_several_sessions(tiny_llama_dir: Path, tmp_path: Path) -> None:
    once = sessions_of(["once"], 4, lambda _, i: two_keys(i))
    days = [
        {"text": two_keys(10 * i + day), "experiment": f"days/{day}", "participant": i, "age": 30 + i}
        for i in range(3)
        for day in range(2)
    ]
    data = DataArguments(str(write_transcripts(tmp_path / "s.jsonl", [*once, *days])))
    both, alone = (
        measure(named(tiny_llama_dir), one, ScoreArguments(str(tmp_path / name)))
        for name, one in (("both", data), ("alone", DataArguments(data.data, studies="once")))
    )
    table = read_scores(both, []).to_pandas()
    assert table[table["study"] == "once"][PERSON].isna().all()
    of_days = table[table["study"] == "days"]
    assert (of_days[PERSON].astype(str) == of_days["participant"].astype(str)).all()
    assert PERSON not in read_scores(alone, []).column_names
    found = read_run(both).record.data.studies
    assert {study: (about.people, about.sessions) for study, about in found.items()} == {"once": (4, 4), "days": (3, 6)}
    assert [len(set(scores.participant_R)) for scores in join_scores(both, both)] == [3, 4]
