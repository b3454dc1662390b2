"""inspect_ai asks for people's answers by our task, and its own numbers are those of the answers by hand."""

import json
import math
import tomllib
from pathlib import Path

import pytest

from helpers.commands import run_process
from helpers.paths import PACKAGE, ROOT
from helpers.transcripts import two_keys, write_transcripts

OWN = ROOT / ".venv" / "inspect" / "bin" / "python"
"""Of an environment of inspect's own: its libraries and ours want other versions of each other's."""

ASKED = """
import json, math, sys
from inspect_ai import eval as evaluate
from inspect_ai.model import ChatCompletionChoice, ChatMessageAssistant, Logprob, Logprobs, ModelOutput, TopLogprob
from inspect_ai.model import ModelUsage, get_model

used = ModelUsage(input_tokens=1, output_tokens=1, total_tokens=2)  # or it would count, with a file from elsewhere

def reply(text, likeliest):
    top = [TopLogprob(token=token, logprob=math.log(share)) for token, share in likeliest.items()]
    said = Logprobs(content=[Logprob(token=text, logprob=0.0, top_logprobs=top)])
    choice = ChatCompletionChoice(message=ChatMessageAssistant(content=text), logprobs=said)
    return ModelOutput(model="mockllm/model", usage=used, choices=[choice])

told = [reply("J", {"J": 0.6, " F": 0.2, "x": 0.1})] * 6
silent = ChatCompletionChoice(message=ChatMessageAssistant(content="I cannot know"))
plain = [ModelOutput(model="mockllm/model", usage=used, choices=[silent])] * 6
asked_for = []
for outputs in (told, plain):
    model = get_model("mockllm/model", custom_outputs=outputs)
    asked = {"data": sys.argv[1], "responses": 3}
    (log,) = evaluate("centaurlab/people", model=model, task_args=asked, log_dir=sys.argv[2], display="none")
    assert log.status == "success", log.error
    results = {of.name: of.metrics.items() for of in log.results.scores}
    numbers = {of: {name.split("/")[-1]: one.value for name, one in found} for of, found in results.items()}
    samples = [[s.input[0].text, s.target, s.metadata["options"], s.metadata["response"]] for s in log.samples]
    asked_for.append({"numbers": numbers, "samples": samples})
print(json.dumps(asked_for))
"""


def installed(folder: Path) -> Path:
    """A folder of packages in which centaurlab is, with the entry points of pyproject.toml, as pip makes it."""
    about = folder / "centaurlab-0.0.dist-info"
    about.mkdir(parents=True)
    (folder / "centaurlab").symlink_to(PACKAGE)
    (about / "METADATA").write_text("Metadata-Version: 2.4\nName: centaurlab\nVersion: 0.0\n")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    points = [f"{name} = {module}\n" for name, module in project["entry-points"]["inspect_ai"].items()]
    (about / "entry_points.txt").write_text("[inspect_ai]\n" + "".join(points))
    return folder


@pytest.mark.slow
def test_it_asks_for_answers_with_their_history_and_counts_them(tmp_path: Path) -> None:
    if not OWN.exists():
        pytest.skip("inspect_ai has no environment of its own here")
    texts = [two_keys(person, 6) for person in range(2)]
    data = write_transcripts(
        tmp_path / "data.jsonl",
        [{"text": text, "study": "s", "experiment": "e", "participant": i} for i, text in enumerate(texts)],
    )
    path = installed(tmp_path / "site-packages")
    done = run_process(OWN, "-c", ASKED, data, tmp_path / "logs", PYTHONPATH=str(path), HOME=str(tmp_path))
    assert done.returncode == 0, done.stderr
    told, plain = json.loads(done.stdout.splitlines()[-1])
    assert len(told["samples"]) == 6
    for asked, target, options, number in told["samples"]:
        assert sorted(options) == ["F", "J"]
        record = asked.partition("\n\n")[2]
        assert any(text.startswith(f"{record}{target}>>") for text in texts)
        assert asked.count("<<") - asked.partition("\n\n")[0].count("<<") == number + 1
    is_j = [target == "J" for _, target, _, _ in told["samples"]]
    assert told["numbers"]["accuracy"]["mean"] == pytest.approx(sum(is_j) / 6)
    nlls = [-math.log((0.7 if answered else 0.3) / 0.9) for answered in is_j]  # 0.1 is told of no token
    assert told["numbers"]["nll_at_least"]["mean_of_known"] == pytest.approx(sum(nlls) / 6)
    assert (told["numbers"]["valid"]["mean"], told["numbers"]["nll_known"]["mean"]) == (1, 1)
    assert (plain["numbers"]["valid"]["mean"], plain["numbers"]["nll_known"]["mean"]) == (0, 0)
    assert math.isnan(plain["numbers"]["nll_at_least"]["mean_of_known"])
