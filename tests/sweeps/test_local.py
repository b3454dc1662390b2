"""A sweep file runs as W&B would run it, each slot to its end once, whatever is killed meanwhile."""

import json
import signal
import sys
from pathlib import Path

import pytest
from optuna.trial import TrialState

from centaurlab.runtime.errors import UserError
from centaurlab.sweeps.file import read_sweep
from centaurlab.sweeps.local import command_line, draw, n_trials, open_study, run_sweep
from helpers.sweeps import start_sweep, trials, write_sweep
from helpers.waiting import wait_until


def sleeping(folder: Path) -> list[int]:
    """Processes of the trials that have begun and logged nothing yet."""
    begun = [path for path in folder.glob("runs/tiny-*/pid") if not (path.parent / "metrics.jsonl").exists()]
    return [int(path.read_text()) for path in begun if path.read_text()]


def is_alive(pid_file: Path) -> bool:
    return Path("/proc", pid_file.read_text(), "exe").exists()  # not of a zombie


def finished(folder: Path) -> list[int]:
    """How often each of the trials ran to its end."""
    return [len(path.read_text().splitlines()) for path in sorted(folder.glob("runs/tiny-*/metrics.jsonl"))]


@pytest.mark.slow
def test_a_killed_grid_of_eight_trials_resumes_and_runs_none_twice(tmp_path: Path) -> None:
    launcher = ["sh", "-c", '"$@" & wait', "sh", sys.executable, str(tmp_path / "trial.py"), "${args}"]
    sweep = write_sweep(tmp_path, command=launcher)
    first = start_sweep(sweep, "--workers", "2", TRIAL_SECONDS="1")
    wait_until(lambda: len(finished(tmp_path)) >= 3 and len(sleeping(tmp_path)) == 2)
    first.kill()
    first.communicate()
    wait_until(lambda: not any(is_alive(path) for path in tmp_path.glob("runs/tiny-*/pid")))

    second = start_sweep(sweep, "--workers", "2")
    output, _ = second.communicate(timeout=120)
    assert second.returncode == 0, output
    assert finished(tmp_path) == [1] * 8
    complete = [t for t in trials(tmp_path) if t.state == TrialState.COMPLETE]
    assert sorted((t.params["rank"], t.params["rate"]) for t in complete) == [
        (rank, rate) for rank in (2, 3, 4, 6) for rate in (0.1, 0.5)
    ]
    assert "best of 8" in output
    assert "loss = 0.1" in output
    for kind in ("importance", "parallel"):
        assert list(tmp_path.glob(f"runs/tiny-*-{kind}.png"))

    third = start_sweep(sweep, "--workers", "2")
    third.communicate(timeout=120)
    assert finished(tmp_path) == [1] * 8


def test_a_failed_trial_is_named_and_tried_again_with_its_values_by_the_next_run(tmp_path: Path) -> None:
    flag = tmp_path / "repaired"
    command = ["sh", "-c", f'test -e {flag} && exec "$@"', "sh", sys.executable, str(tmp_path / "trial.py"), "${args}"]
    rank_and_rate = {"rank": {"min": 1, "max": 5}, "rate": {"min": 0.0, "max": 1.0}}
    sweep = write_sweep(tmp_path, method="random", parameters=rank_and_rate, command=command)
    run = start_sweep(sweep, "--count", "1")
    output, _ = run.communicate(timeout=60)
    assert run.returncode == 2
    assert "failed (exit code 1)" in output
    assert "no trial of tiny finished" in output
    flag.touch()
    run = start_sweep(sweep, "--count", "1")
    output, _ = run.communicate(timeout=60)
    assert run.returncode == 0, output
    failed, complete = trials(tmp_path)
    assert (failed.state, complete.state) == (TrialState.FAIL, TrialState.COMPLETE)
    assert failed.params == complete.params


def test_a_sweep_of_which_some_trials_failed_shows_its_best_and_exits_with_1(tmp_path: Path) -> None:
    breaks = 'case "$*" in *rank=6*) exit 3;; esac; exec "$@"'
    command = ["sh", "-c", breaks, "sh", sys.executable, str(tmp_path / "trial.py"), "${args}"]
    sweep = write_sweep(tmp_path, parameters={"rank": {"values": [4, 6]}, "rate": {"value": 0.5}}, command=command)
    for options, code in (((), 1), (("--count", "1"), 0)):  # the one that failed is beyond the count
        run = start_sweep(sweep, *options)
        output, _ = run.communicate(timeout=60)
        assert run.returncode == code, output
        assert "best of 1" in output
        assert ("error: 1 of 2 trials of tiny failed" in output) == ("tries them again" in output) == bool(code)


def test_a_hopeless_trial_is_pruned_with_all_that_its_launcher_started(tmp_path: Path) -> None:
    launcher = ["sh", "-c", '"$@" & wait', "sh", sys.executable, str(tmp_path / "trial.py"), "${args}"]
    sweep = write_sweep(
        tmp_path,
        parameters={"rank": {"values": [4, 16]}, "rate": {"value": 0.5}},
        early_terminate={"type": "hyperband", "max_iter": 4, "s": 2, "eta": 2},
        command=launcher,
    )
    output, _ = start_sweep(sweep, TRIAL_STEPS="4").communicate(timeout=60)
    assert "pruned after" in output
    assert [trial.state for trial in trials(tmp_path)] == [TrialState.COMPLETE, TrialState.PRUNED]
    assert list(trials(tmp_path)[0].intermediate_values) == [1, 2, 3, 4]
    assert not any(is_alive(path) for path in tmp_path.glob("runs/tiny-*/pid"))


def test_a_trial_whose_last_value_is_no_number_has_failed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    logs = {"big": [{"loss": 0.5}, {"loss": None}, {"other": 1.0}], "small": [{"loss": 0.9}, {"loss": 0.7}]}
    for name, lines in logs.items():
        (tmp_path / name).write_text("".join(json.dumps(line) + "\n" for line in lines))
    copies = f'cp {tmp_path}/"${{1#--size=}}" "$SWEEP_RUNS/$WANDB_RUN_ID/metrics.jsonl"'
    sweep = read_sweep(
        write_sweep(tmp_path, parameters={"size": {"values": [*logs]}}, command=["sh", "-c", copies, "sh", "${args}"])
    )
    study = run_sweep(sweep, f"sqlite:///{tmp_path / 'tiny.db'}", tmp_path, None, 1)
    assert "failed (its last loss is not a number)" in capsys.readouterr().err
    assert (study.best_params, study.best_value) == ({"size": "small"}, 0.7)


def test_what_a_trial_lacked_is_run_again_though_it_wrote_its_record(tmp_path: Path) -> None:
    folder = "cd $SWEEP_RUNS/$WANDB_RUN_ID; "
    writes = 'echo >> began; echo \'{"loss": 0.5}\' > metrics.jsonl; echo \'{"job": "effect"}\' > run.json; '
    command = ["sh", "-c", folder + writes + f"test -e {tmp_path}/mended"]
    sweep = read_sweep(write_sweep(tmp_path, parameters={"rank": {"value": 1}}, command=command))
    for count, state in ((1, TrialState.FAIL), (2, TrialState.FAIL), (3, TrialState.COMPLETE)):
        if count == 3:
            (tmp_path / "mended").touch()
        study = run_sweep(sweep, f"sqlite:///{tmp_path / 'tiny.db'}", tmp_path, None, 1)
        (began,) = tmp_path.glob("tiny-*/began")
        assert began.stat().st_size == count
        assert study.trials[-1].state == state


@pytest.mark.parametrize(
    ("about", "runs"),
    [
        ({"job": "score"}, 0),
        ({"job": "score", "failed_sessions": ["a: no memory"]}, 1),
        ({"job": "effect", "models": [{"failed": 0}, {"failed": 2}]}, 1),
        ({"job": "interpolate", "models": {"0.5": "alpha-0.5"}}, 0),
        ({"models": ["of another program"]}, 0),
    ],
)
def test_what_outlived_its_worker_is_run_again_only_where_it_lacks_something(
    tmp_path: Path, about: dict[str, object], runs: int
) -> None:
    storage = f"sqlite:///{tmp_path / 'tiny.db'}"
    command = ["sh", "-c", "echo >> $SWEEP_RUNS/$WANDB_RUN_ID/began"]
    sweep = read_sweep(write_sweep(tmp_path, parameters={"rank": {"value": 1}}, command=command))
    folder = tmp_path / f"{open_study(sweep, storage, tmp_path).user_attrs['id']}-0"
    folder.mkdir()
    (folder / "run.json").write_text(json.dumps(about))
    (folder / "metrics.jsonl").write_text('{"loss": 0.5}\n')
    assert run_sweep(sweep, storage, tmp_path, None, 1).best_value == 0.5
    assert (folder / "began").exists() == bool(runs)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_an_interrupted_sweep_stops_its_trials(tmp_path: Path, number: int, code: int) -> None:
    run = start_sweep(write_sweep(tmp_path), TRIAL_SECONDS="50")
    wait_until(lambda: any(path.read_text() for path in tmp_path.glob("runs/tiny-*/pid")))
    run.send_signal(number)
    run.communicate(timeout=30)
    assert run.returncode == code
    assert not any(is_alive(path) for path in tmp_path.glob("runs/tiny-*/pid"))


def test_a_sweep_that_changed_under_its_name_is_refused(tmp_path: Path) -> None:
    storage = f"sqlite:///{tmp_path / 'tiny.db'}"
    first = open_study(read_sweep(write_sweep(tmp_path)), storage, tmp_path)
    assert open_study(read_sweep(write_sweep(tmp_path)), storage, tmp_path).user_attrs == first.user_attrs
    with pytest.raises(UserError, match="has begun with other parameters"):
        open_study(read_sweep(write_sweep(tmp_path, parameters={"rank": {"value": 1}})), storage, tmp_path)
    pruning = {"early_terminate": {"type": "hyperband", "min_iter": 2}}
    for name, changes in (("command", {"command": ["sh", "-c", "true"]}), ("early_terminate", pruning)):
        with pytest.raises(UserError, match=f"has begun with another {name}; give the file another 'name'"):
            open_study(read_sweep(write_sweep(tmp_path, **changes)), storage, tmp_path)


def test_the_command_is_the_one_that_wandbs_agent_would_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOST", "here")
    pieces = [
        "${env}",
        "A=1",
        "${interpreter}",
        "x-${envvar:HOST}",
        "${args_no_hyphens}",
        "$0 ${shell:-y} z",
        "${args}",
        "${args_json_file}",
    ]
    sweep = read_sweep(write_sweep(tmp_path, command=pieces))
    assert command_line(sweep, {"rank": 4, "rate": None}, tmp_path / "values.json") == [
        *("/usr/bin/env", "A=1", sys.executable, "x-here", "rank=4", "rate=None", "$0 ${shell:-y} z"),
        *("--rank=4", "--rate=None", str(tmp_path / "values.json")),
    ]


def test_a_trial_reads_its_values_and_nothing_else_from_the_json_file_of_its_command(tmp_path: Path) -> None:
    program = "import json, os, sys; values = json.load(open(sys.argv[1])); folder = os.environ['SWEEP_RUNS'] + '/' + "
    program += "os.environ['WANDB_RUN_ID']; loss = values.pop('rank') + len(values); "
    program += "json.dump({'loss': loss}, open(folder + '/metrics.jsonl', 'w'))"
    command = ["${env}", "${interpreter}", "-c", program, "${args_json_file}"]
    output, _ = start_sweep(write_sweep(tmp_path, parameters={"rank": {"values": [7]}}, command=command)).communicate()
    assert "loss = 7" in output


def test_a_sweep_of_the_package_is_found_from_any_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    output, _ = start_sweep(Path("recipes/sweeps/lora.yaml")).communicate()
    assert output == "error: a bayes sweep has no end of its own; give --count\n"


def test_values_are_drawn_with_their_probabilities(tmp_path: Path) -> None:
    rank = {"values": [1, 2, 3], "probabilities": [0.02, 0.98, 0]}
    sweep = read_sweep(write_sweep(tmp_path, method="random", parameters={"rank": rank, "rate": {"value": 1}}))
    drawn = [draw(sweep) for _ in range(2000)]
    assert {tuple(one) for one in drawn} == {("rank",)}
    assert 10 < sum(one["rank"] == 1 for one in drawn) < 80  # 40 ± 6
    assert not any(one["rank"] == 3 for one in drawn)
    output, _ = start_sweep(
        write_sweep(
            tmp_path,
            method="random",
            parameters={"rank": {"values": [3, 5], "probabilities": [0, 1]}, "rate": {"value": 1}},
        ),
        "--count",
        "2",
    ).communicate()
    assert output.count("loss = 2  rank=5") == 2, output


def test_the_number_of_trials_is_the_count_the_cap_or_the_grid(tmp_path: Path) -> None:
    assert n_trials(read_sweep(write_sweep(tmp_path)), None) == 8
    assert n_trials(read_sweep(write_sweep(tmp_path)), 20) == 8
    assert n_trials(read_sweep(write_sweep(tmp_path, run_cap=3)), None) == 3
    assert n_trials(read_sweep(write_sweep(tmp_path, method="random", run_cap=3)), 9) == 9
    with pytest.raises(UserError, match="give --count"):
        n_trials(read_sweep(write_sweep(tmp_path, method="random")), None)
