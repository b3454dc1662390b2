"""Data sets of the hub are downloaded once, and what it does not hand out is said in one sentence."""

import json
import subprocess
import sys
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from centaurlab.data.hub import choose_split, explain
from centaurlab.data.source import DataArguments, open_source
from centaurlab.runtime.errors import UserError
from helpers.hub_cache import COMMIT
from helpers.servers import SilentHandler, serving
from helpers.transcripts import session, write_transcripts


class StandInHub(SilentHandler):
    """Answers as the hub does: one public data set, one gated, and nothing else."""

    files: dict[str, bytes]

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        if "someone/broken" in path:
            self.refuse("", 500)
        elif "someone/public" not in path and "someone/gated" not in path:
            self.refuse("RepoNotFound", 404)
        elif path.endswith("/revision/v9"):
            self.refuse("RevisionNotFound", 404)
        elif "someone/gated" in path and "/resolve/" in path:
            self.refuse("GatedRepo", 401)
        elif "/resolve/" in path:
            self.send_file(path.partition(f"/resolve/{COMMIT}/")[2])
        elif "/tree/" in path:
            self.reply([{"type": "file", "path": n, "size": len(c), "oid": "1"} for n, c in self.files.items()])
        else:
            siblings = [{"rfilename": name} for name in self.files]
            self.reply({"id": "someone/public", "sha": COMMIT, "siblings": siblings})

    def reply(self, answer: object) -> None:
        body = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def send_file(self, name: str) -> None:
        content = self.files[name]
        self.send_response(200)
        self.send_header("ETag", f'"{len(content)}"')
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(content)


def stand_in_hub(files: dict[str, bytes]) -> AbstractContextManager[str]:
    """The address of a hub that hands out ``files``, meanwhile."""
    return serving(type("Handler", (StandInHub,), {"files": files}))


def read_in_a_new_process(endpoint: str, cache: Path, **settings: object) -> subprocess.CompletedProcess[str]:
    """A user's process: the hub's address and cache are read from the environment when it starts."""
    program = (
        "import sys, json; from centaurlab.runtime.errors import exit_on_user_error\n"
        "from centaurlab.data.source import DataArguments, open_source\n"
        "def main():\n"
        "    args = DataArguments(**json.loads(sys.argv[1]))\n"
        "    print(*[t.participant for t in open_source(args)])\n"
        "exit_on_user_error(main)\n"
    )
    environment = {
        "HF_ENDPOINT": endpoint,
        "HF_HOME": str(cache),
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "PATH": "",
    }
    return subprocess.run(
        [sys.executable, "-c", program, json.dumps(settings)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
    )


@pytest.fixture
def snapshot(tmp_path: Path) -> Path:
    """The files of a hub data set with a train and a test split, as ``push_to_hub`` names them."""
    root = tmp_path / "snapshot"
    write_transcripts(root / "data" / "train-00000-of-00002.parquet", [session(i, age=i) for i in range(3)])
    write_transcripts(root / "data" / "train-00001-of-00002.parquet", [session(i, age=str(i)) for i in range(3, 6)])
    write_transcripts(root / "data" / "test-00000-of-00001.parquet", [session(6)])
    (root / "README.md").write_text("about")
    return root


def test_a_data_set_is_downloaded_once_and_read_from_the_cache_afterwards(snapshot, tmp_path):
    files = {str(p.relative_to(snapshot)): p.read_bytes() for p in snapshot.rglob("*") if p.is_file()}
    with stand_in_hub(files) as endpoint:
        first = read_in_a_new_process(endpoint, tmp_path / "hf", data="someone/public", data_split="train")
    assert (first.returncode, first.stdout) == (0, "0 1 2 3 4 5\n"), first.stderr
    again = read_in_a_new_process(endpoint, tmp_path / "hf", data="someone/public", data_split="test")
    assert (again.returncode, again.stdout) == (0, "6\n"), again.stderr
    assert not list((tmp_path / "hf").rglob("README.md"))


def test_a_revision_is_asked_of_the_hub(snapshot, tmp_path):
    files = {str(p.relative_to(snapshot)): p.read_bytes() for p in snapshot.rglob("*.parquet")}
    asked = {"data": "someone/public", "data_split": "train"}
    with stand_in_hub(files) as endpoint:
        there = read_in_a_new_process(endpoint, tmp_path / "hf", **asked, data_revision="v1")
        not_there = read_in_a_new_process(endpoint, tmp_path / "hf", **asked, data_revision="v9")
    assert there.stdout == "0 1 2 3 4 5\n", there.stderr
    assert (tmp_path / "hf" / "hub" / "datasets--someone--public" / "refs" / "v1").read_text() == COMMIT
    assert not_there.returncode == 2
    assert "someone/public has no revision 'v9'" in not_there.stderr


@pytest.mark.parametrize(
    ("repository", "said"),
    [
        (
            "someone/gated",
            "someone/gated is gated: ask for access at https://huggingface.co/datasets/someone/gated",
        ),
        ("someone/nothing", "no file, folder or hub data set 'someone/nothing'"),
        ("someone/broken", "the hub cannot be reached"),
    ],
)
def test_what_the_hub_refuses_is_said_in_one_sentence(tmp_path, repository, said):
    with stand_in_hub({"data/train-00000-of-00001.parquet": b"PAR1"}) as endpoint:
        result = read_in_a_new_process(endpoint, tmp_path, data=repository)
    assert result.returncode == 2
    assert said in result.stderr
    assert "Traceback" not in result.stderr


def test_without_a_network_the_message_says_so(tmp_path):
    result = read_in_a_new_process("http://127.0.0.1:9", tmp_path, data="marcelbinz/Psych-101")
    assert result.returncode == 2
    assert "marcelbinz/Psych-101 is no file or folder, not in the cache, and the hub cannot be reached" in result.stderr


def test_offline_mode_is_named_as_such():
    from huggingface_hub.errors import OfflineModeIsEnabled

    assert "the hub cannot be reached" in explain(OfflineModeIsEnabled("offline"), "someone/public")


def test_a_local_copy_of_a_hub_data_set_is_read_like_any_folder(snapshot):
    assert [t.participant for t in open_source(DataArguments(data=str(snapshot)))] == list("6012345")
    args = DataArguments(data=str(snapshot), data_split="train")
    assert [t.participant for t in open_source(args)] == list("012345")


def test_several_splits_need_one_to_be_named_and_only_existing_ones_can_be(snapshot):
    with pytest.raises(UserError, match="several splits; choose --data_split test, --data_split train"):
        choose_split(snapshot, "someone/public", None)
    with pytest.raises(UserError, match="no split 'validation' in someone/public"):
        choose_split(snapshot, "someone/public", "validation")


def test_a_data_set_that_comes_with_its_own_split_keeps_it(snapshot):
    def participants(**settings: str) -> str:
        return "".join(t.participant for t in open_source(DataArguments(data=str(snapshot), **settings)))

    assert participants(data_split="test", participants="test") == "6"
    assert participants(data_split="train", participants="train") == "012345"
    with pytest.raises(UserError, match="holds only the train half of its own split"):
        participants(data_split="train", participants="test")


def test_the_published_sets_are_two_halves_whatever_their_only_split_is_called(tmp_path):
    write_transcripts(tmp_path / "data" / "train-00000-of-00001.parquet", [session(1)])
    assert choose_split(tmp_path, "marcelbinz/Psych-201-test", None)[1] == "test"
    assert choose_split(tmp_path, "marcelbinz/Psych-101", None)[1] == "train"
    assert choose_split(tmp_path, "someone/else", None)[1] is None
