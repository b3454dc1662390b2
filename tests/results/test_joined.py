"""Two folders of scores are joined response by response, or refused with the reason."""

from pathlib import Path

import numpy as np
import pytest

from centaurlab.data.transcripts import SessionKey
from centaurlab.results.joined import CommonResponses, StudyScores, join_scores
from centaurlab.results.run import read_run
from centaurlab.runtime.errors import UserError
from centaurlab.stats.sums import compare
from helpers.score_folders import Rows, score_folder

A, B, OTHER = SessionKey("s", "s/exp1.csv", "1"), SessionKey("s", "s/exp2.csv", "1"), SessionKey("r", "r", "1")
BASE: Rows = [(A, {0: 0.5, 1: 1.0, 2: 1.5}), (B, {0: 2.0}), (OTHER, {0: 3.0, 1: 3.5})]


def _rows(scores: StudyScores) -> list[tuple[float, float]]:
    return sorted(zip(scores.nll_base_R.tolist(), scores.nll_post_R.tolist(), strict=True))


def test_responses_are_joined_by_key_whatever_their_order(tmp_path: Path) -> None:
    base = score_folder(tmp_path / "base", BASE)
    post = score_folder(
        tmp_path / "post", [(OTHER, {1: 13.5, 0: 13.0}), (B, {0: 12.0}), (A, {2: 11.5, 0: 10.5, 1: 11.0})]
    )
    r, s = join_scores(base, post)
    assert (r.study, s.study) == ("r", "s")
    assert _rows(r) == [(3.0, 13.0), (3.5, 13.5)]
    assert _rows(s) == [(0.5, 10.5), (1.0, 11.0), (1.5, 11.5), (2.0, 12.0)]


def test_a_participant_is_of_one_experiment_of_one_study(tmp_path: Path) -> None:
    base, post = score_folder(tmp_path / "base", BASE), score_folder(tmp_path / "post", BASE)
    r, s = join_scores(base, post)
    by_nll = dict(zip(s.nll_base_R.tolist(), s.participant_R.tolist(), strict=True))
    assert by_nll[0.5] == by_nll[1.0] == by_nll[1.5] != by_nll[2.0]
    assert not set(r.participant_R.tolist()) & set(s.participant_R.tolist())


def test_what_only_one_model_scored_is_counted_and_left_out(tmp_path: Path) -> None:
    base = score_folder(tmp_path / "base", BASE)
    post = score_folder(tmp_path / "post", [(A, {0: 10.5, 7: 9.0}), (OTHER, {0: 13.0, 1: 13.5})])
    r, s = join_scores(base, post)
    assert _rows(s) == [(0.5, 10.5)]
    assert (s.unmatched_base, s.unmatched_post) == (3, 1)
    assert (r.unmatched_base, r.unmatched_post) == (0, 0)
    assert (r.first_unmatched, s.first_unmatched) == (None, 1)  # of A: B has not a single response in the second


def test_models_side_by_side_are_held_over_the_responses_that_all_of_them_scored(tmp_path: Path) -> None:
    rows = {"a": BASE, "b": [(OTHER, {1: 13.5}), (A, {2: 11.5, 0: 10.5})], "c": [(A, {0: 6.0, 2: 7.0}), *BASE[1:]]}
    runs = [read_run(score_folder(tmp_path / name, of)) for name, of in rows.items()]
    common = CommonResponses(run.folder for run in runs)
    assert (common.n, common.left_out) == (3, 3)
    assert "3 that some did not are left out" in common.note
    nlls = [sorted(common.of_table(run.table(["nll"])).column("nll").to_pylist()) for run in runs]
    assert nlls == [[0.5, 1.5, 3.5], [10.5, 11.5, 13.5], [3.5, 6.0, 7.0]]
    r, s = join_scores(runs[0].folder, runs[2].folder)
    assert (_rows(common.of_study(r)), _rows(common.of_study(s))) == ([(3.5, 3.5)], [(0.5, 6.0), (1.5, 7.0)])
    assert [study.sums_PK[:, 0].sum() for study in compare(runs[2], runs[0], among=common).studies] == [1, 2]
    same = CommonResponses([runs[0].folder, runs[0].folder])
    assert (same.n, same.left_out, same.note) == (6, 0, "")
    elsewhere = score_folder(tmp_path / "d", [(A, {7: 1.0})])
    with pytest.raises(UserError, match="no response was scored by every model"):
        CommonResponses([runs[0].folder, elsewhere])


def test_a_study_that_does_not_join_at_all_is_still_counted(tmp_path: Path) -> None:
    base, post = score_folder(tmp_path / "base", BASE), score_folder(tmp_path / "post", BASE[2:])
    _, s = join_scores(base, post)
    assert (len(s.nll_base_R), s.unmatched_base, s.unmatched_post) == (0, 4, 0)


def test_many_sessions_over_several_row_groups_join_as_a_dictionary_would(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)

    def some_sessions() -> dict[SessionKey, dict[int, float]]:
        keys = [SessionKey(f"s{i % 7}", f"e{i % 3}", str(i % 11)) for i in rng.permutation(231)]
        draw = rng.integers(1, 2**20, (len(keys), 1200))
        return {
            key: {i: float(nll) for i, nll in enumerate(row) if nll % 5} for key, row in zip(keys, draw, strict=True)
        }

    first, second = some_sessions(), some_sessions()
    joined = join_scores(
        score_folder(tmp_path / "base", list(first.items())), score_folder(tmp_path / "post", list(second.items()))
    )
    for scores in joined:
        expected = [
            (nll, second[key][i])
            for key in first
            if key.study == scores.study
            for i, nll in first[key].items()
            if i in second[key]
        ]
        assert _rows(scores) == sorted(expected)
        assert len(np.unique(scores.participant_R)) == 33


def test_folders_without_a_common_response_are_refused(tmp_path: Path) -> None:
    base, post = score_folder(tmp_path / "base", BASE[:1]), score_folder(tmp_path / "post", BASE[1:])
    with pytest.raises(UserError, match="no response in common"):
        join_scores(base, post)


@pytest.mark.parametrize("nll", [float("nan"), float("inf")])
def test_an_nll_that_is_no_number_is_never_averaged(tmp_path: Path, nll: float) -> None:
    base = score_folder(tmp_path / "base", BASE)
    post = score_folder(tmp_path / "post", [(A, {0: 0.5}), (B, {4: nll})])
    with pytest.raises(UserError, match=r"post: the NLL of response 4 of participant '1' of 's' .*exp2.* is (nan|inf)"):
        join_scores(base, post)


def test_a_response_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    base = score_folder(tmp_path / "base", BASE)
    post = score_folder(tmp_path / "post", [(A, {0: 0.5}), (B, {0: 1.0}), (A, {0: 0.7})])
    with pytest.raises(UserError, match=r"post holds response 0 of participant '1' of 's' .* more than once"):
        join_scores(base, post)


def test_a_damaged_table_is_refused(tmp_path: Path) -> None:
    base, post = score_folder(tmp_path / "base", BASE), score_folder(tmp_path / "post", BASE)
    (post / "scores.parquet").write_bytes(b"PAR1 this is not a table")
    with pytest.raises(UserError, match=r"scores.parquet is damaged"):
        join_scores(base, post)
