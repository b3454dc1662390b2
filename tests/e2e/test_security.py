"""Keys and passwords reach their servers and nothing else: no log, no file of a run, no store of a tracker."""

from pathlib import Path

import pytest

from centaurlab.runs.mlflow_store import connect
from helpers.commands import run_python
from helpers.paths import ROOT
from helpers.trackers import MlflowServer
from helpers.transcripts import sessions_of, write_transcripts

IN_ENVIRONMENT = {
    "HF_TOKEN": "hf_" + "Planted" * 5,
    "WANDB_API_KEY": "5ec2e7" * 6 + "5ec2",
    "MLFLOW_TRACKING_PASSWORD": "correct horse battery staple",
}
CLI = "from centaurlab.cli.main import main; main()"
PASSWORD, TYPED, HUB_TOKEN = "s3same-open", "hf_" + "Typed" * 7, "a-token-of-no-known-look"
SECRETS = (*IN_ENVIRONMENT.values(), PASSWORD, TYPED, HUB_TOKEN)


@pytest.mark.slow
def test_no_secret_is_written_anywhere(tiny_llama_dir: Path, tmp_path: Path) -> None:
    server_folder, work = tmp_path / "server", tmp_path / "work"
    server_folder.mkdir()
    work.mkdir()
    rows = sessions_of(("alpha", "beta"), 12, lambda *_: "You press <<J>>.\n" * 4)
    write_transcripts(work / "sessions.jsonl", rows)
    server = MlflowServer(server_folder, f"sqlite:///{server_folder / 'mlflow.db'}")
    address = server.address.replace("://", f"://somebody:{PASSWORD}@")
    environment = {
        **IN_ENVIRONMENT,
        "MLFLOW_TRACKING_URI": address,
        "MLFLOW_TRACKING_USERNAME": "somebody",
        "WANDB_MODE": "offline",
    }
    data = ["--model_name_or_path", str(tiny_llama_dir), "--data", "sessions.jsonl", "--dtype", "float32"]
    tracked = ["--report_to", "mlflow", "wandb", "--run_name", f"mine {TYPED}"]
    training = ["--max_steps", "2", "--save_steps", "1", "--use_peft", "true"]
    training += ["--lora_target_modules", "q_proj", "v_proj", "--gradient_checkpointing", "false"]
    training += ["--bf16", "false", "--hub_token", HUB_TOKEN]
    posttraining = ["--dataset", "starter-assistant", "--max_steps", "1", f"--hub_token={HUB_TOKEN}", "--bf16", "false"]
    commands = [
        ["eval/score.py", *data, *tracked, "--output_dir", "base"],
        ["recipes/centaur.py", *data, *tracked, *training, "--output_dir", "centaur"],
        ["recipes/posttrain.py", *data[:2], *posttraining, "--output_dir", "post"],
        ["eval/misalignment.py", "--base", "base", "--post", "post", *data[2:], "--output_dir", "effect"],
        ["-c", CLI, "report", "."],
        ["-c", CLI, "compare", "base", "effect"],
        ["eval/score.py", "--model_name_or_path", f"https://somebody:{PASSWORD}@lab.org/{TYPED}", "--output_dir", "no"],
        ["sweeps/run.py", "sweep.yaml", "--storage", f"postgresql://somebody:{PASSWORD}@127.0.0.1:9/db"],
    ]
    (work / "sweep.yaml").write_text("method: grid\nmetric: {name: a}\nparameters: {a: {value: 1}}\ncommand: [a]\n")
    said = ""
    codes = []
    try:
        for script, *arguments in commands:
            program = [script] if script == "-c" else [str(ROOT / script)]
            done = run_python(*program, *arguments, cwd=work, **environment)
            codes.append(done.returncode)
            said += done.stdout + done.stderr
        client = connect(server.address)
        (run,) = client.search_runs(["1"], "tags.job_type = 'train' and params.`training.max_steps` = '2'")
        assert run.info.status == "FINISHED", "the server was reached with the password"
    finally:
        server.kill()
    assert codes == [0, 0, 0, 0, 0, 0, 2, 2], said
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert {"run.json", "config.json", "report.html", "training_args.bin", "mlflow.db"} <= {path.name for path in files}
    assert any(path.suffix == ".wandb" for path in files)
    for secret in SECRETS:
        assert secret not in said
        assert [path for path in files if secret.encode() in path.read_bytes()] == []
