"""What must hold for whatever a stranger's file contains, one function for each thing that is read.

A target reads its input as the package does and says whether the input was accepted. ``UserError`` is an answer; any
other exception is a bug, and so is a transcript, a persona or a setting that breaks what the rest relies on.
"""

import contextlib
import io
import json
import os
import re
import shutil
import tempfile
import typing
from collections.abc import Callable, Iterator, Sequence
from dataclasses import fields
from functools import cache
from pathlib import Path

from centaurlab.data.persons import SEPARATE
from centaurlab.data.records import KEY_FIELDS, Problem
from centaurlab.data.source import DataArguments, open_source
from centaurlab.data.transcripts import SessionKey, Transcript, find_responses, marker_problem
from centaurlab.models.arguments import ModelArguments
from centaurlab.models.checkpoints import Checkpoint
from centaurlab.models.loading import load_config
from centaurlab.models.sizes import MAX_LAYERS, check_ranks
from centaurlab.prompts.personas import PersonaField, own_context, persona_fields, read_personas, shuffled_context
from centaurlab.results.inspect_log import write_inspect_log
from centaurlab.results.joined import join_scores
from centaurlab.results.run import read_run
from centaurlab.results.table import NLL, RESPONSE, SESSION, read_scores, write_scores
from centaurlab.runtime.arguments import parse_arguments
from centaurlab.runtime.errors import UserError
from centaurlab.simulation.store import SimulationStore
from centaurlab.sweeps.file import Sweep, Value, read_sweep
from fuzz.inputs import (
    ARGUMENTS,
    FILES,
    checkpoint_of_bytes,
    config_of_bytes,
    people_of_bytes,
    run_of_bytes,
    scores_of_bytes,
    simulated_of_bytes,
    sweep_of_bytes,
    text_of_bytes,
)
from helpers.score_folders import random_scores
from helpers.span_checks import check_tokens, responses_by_hand
from helpers.tokenizers_zoo import FAMILIES


def check_transcript(text: str) -> None:
    """What every accepted transcript obeys: spans disjoint, ordered, in range, and the text comes back from them."""
    spans = [(response.start, response.end) for response in find_responses(text)]
    assert spans == responses_by_hand(text)
    rebuilt, position = [], 0
    for start, end in spans:
        assert position + 2 <= start <= end <= len(text) - 2
        assert text[start - 2 : start] == "<<"
        assert text[end : end + 2] == ">>"
        rebuilt += [text[position : start - 2], "<<", text[start:end], ">>"]
        position = end + 2
    assert "".join([*rebuilt, text[position:]]) == text


def check_spans(data: bytes, folder: Path) -> bool:
    """Responses in characters and in the tokens of a family, under one of the protocols."""
    family = FAMILIES[(data[1] if len(data) > 1 else 0) % len(FAMILIES)]
    text = text_of_bytes(data)
    check_transcript(text)
    problem = marker_problem(text)
    spans = responses_by_hand(text)
    if problem is None:
        assert len(spans) == text.count("<<") > 0
        assert all(text[start:end].strip() for start, end in spans)
    check_tokens(text, family, ("full", "paper")[len(text) % 2])
    return problem is None


def check_reader(data: bytes, folder: Path) -> bool:
    """Files of transcripts in every format, sound and torn."""
    name, content_of = FILES[(data[0] if data else 0) % len(FILES)]
    path = folder / name
    path.write_bytes(content_of(data[1:]))
    said = _said_of(path)
    assert len(said.splitlines()) <= 1
    try:
        source = open_source(DataArguments(data=str(path), on_malformed="skip"))
        transcripts = list(source)
    except UserError:
        assert said
        return False
    for transcript in transcripts:
        check_transcript(transcript.text)
        assert transcript.study not in ("", ".", "..")
        assert not re.search(r"[/\\\x00-\x1f]", transcript.study)
        assert transcript.participant.strip()
        f"{transcript.text}{transcript.key}".encode()  # no half of a surrogate pair
        assert not set(transcript.metadata) & {"text", *KEY_FIELDS}
        assert transcript.origin.startswith(str(path))
    assert len({transcript.key for transcript in transcripts}) == len(transcripts) > 0
    if not said:
        assert not any(isinstance(session, Problem) for session in source.read())
        assert all(marker_problem(transcript.text) is None for transcript in transcripts)
    return True


def _said_of(path: Path) -> str:
    """What is said of the file where malformed sessions stop a run; '' where nothing is."""
    try:
        for _ in open_source(DataArguments(data=str(path))):
            pass
    except UserError as error:
        return str(error)
    return ""


def check_persona(data: bytes, folder: Path) -> bool:
    """A table of one's own before the first zero byte (none: the published one), and people after it."""
    table, _, people = data[1:].partition(b"\x00")
    path = folder / "table.csv"
    path.write_bytes(table)
    told: object = people_of_bytes(people)
    if data[:1] and data[0] % 2:
        try:
            told = json.loads(people)
        except ValueError:
            return False
    metadata = [one for one in (told if isinstance(told, list) else [told]) if isinstance(one, dict)]
    transcripts = [Transcript("You press <<J>>.", "s", "e", str(i), one) for i, one in enumerate(metadata)]
    try:
        asked = persona_fields(str(path)) if table else _published_fields()
    except UserError:
        return False
    personas = read_personas(transcripts, asked, SEPARATE, on_malformed="skip")
    assert len(personas.everybody) + len(personas.refused) == len(transcripts)
    for context in (own_context(personas, personas.answers), shuffled_context(personas, personas.answers, 0)[0]):
        for transcript in transcripts:
            if transcript.key in context.sessions:
                check_interview(context.texts[transcript.key], [one.question for one in asked])
                prompt = context.prompt(transcript, "full")
                assert prompt.text.endswith(transcript.text)
                assert [prompt.text[r.start : r.end] for r in prompt.responses] == ["J"]
    return bool(personas.answers)


@cache
def _published_fields() -> tuple[PersonaField, ...]:
    return persona_fields()


def check_interview(persona: str, questions: Sequence[str]) -> None:
    """Questions of the table, each with an answer on one line, and nothing that passes for a response."""
    assert "<<" not in persona
    assert ">>" not in persona
    assert len(persona) < 10_000 * len(questions)
    lines = persona.split("\n")
    assert lines == [*persona.splitlines(), ""], "no other line breaks"
    asked, answers, blanks = lines[0:-1:3], lines[1::3], lines[2::3]
    assert len(asked) == len(answers) == len(blanks) > 0
    assert set(blanks) == {""}
    assert {f"Interviewer: {question}" for question in questions} >= set(asked)
    assert all(answer.startswith("Interviewee: ") for answer in answers)


def check_yaml(data: bytes, folder: Path) -> bool:
    """Settings from a YAML file have the types that they are declared with; so has a sweep."""
    path = folder / "config.yaml"
    kind = data[0] % 4 if data else 0
    composed = {1: config_of_bytes, 3: sweep_of_bytes}.get(kind)
    path.write_bytes(composed(data[1:]).encode() if composed else data[1:])
    if kind >= 2:
        try:
            sweep = read_sweep(path)
        except UserError:
            return False
        check_sweep(sweep)
        return True
    try:
        with _kept_environment(), contextlib.redirect_stderr(io.StringIO()):
            parsed = parse_arguments(ARGUMENTS, "Score.", ["--config", str(path)])
    except UserError:
        return False
    except SystemExit as end:
        if end.code == 2:  # argparse's own answer to a bad value
            return False
        raise
    for instance in parsed:
        hints = _hints_of(type(instance))
        for one in fields(instance):
            assert is_instance(getattr(instance, one.name), hints[one.name]), one.name
    return True


def check_checkpoint(data: bytes, folder: Path) -> bool:
    """A config of a model or adapter is read with plain sizes, or refused."""
    content = checkpoint_of_bytes(data)
    for name in ("config.json", "adapter_config.json"):
        (folder / name).unlink(missing_ok=True)
    (folder / ("adapter_config.json" if b'"peft_type"' in content else "config.json")).write_bytes(content)
    checkpoint = Checkpoint("stranger", folder)
    try:
        config = checkpoint.config()
        if checkpoint.is_adapter:
            check_ranks(config, folder / "adapter_config.json", [])
            ranks = (config.get("r"), *(config.get("rank_pattern") or {}).values())
            assert all(rank is None or type(rank) is int for rank in ranks)
            return True
        with contextlib.redirect_stderr(io.StringIO()):
            read = load_config(ModelArguments(str(folder)))
    except UserError:
        return False
    assert read._attn_implementation is None
    layers = getattr(read.get_text_config(), "num_hidden_layers", 1)
    assert not isinstance(layers, int) or layers <= MAX_LAYERS
    return True


def check_run(data: bytes, folder: Path) -> bool:
    """What a run says of itself is read and exported, or refused."""
    (folder / "run.json").write_bytes(run_of_bytes(data))
    (folder / "scores.parquet").write_bytes(_sound_scores())
    try:
        run = read_run(folder)
        write_inspect_log(run, folder / "run.eval")
    except UserError:
        return False
    return True


@cache
def _sound_scores() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        write_scores(Path(folder), [(SessionKey("s", "e", f"p{n}"), random_scores(n, 3)) for n in range(3)])
        return Path(folder, "scores.parquet").read_bytes()


def check_scores(data: bytes, folder: Path) -> bool:
    """A table of scores is read with names, numbers and NLLs that can be, or refused; whole, and beside another."""
    folders = (folder / "one", folder / "other")
    for each, content in zip(folders, (scores_of_bytes(data), _sound_scores()), strict=True):
        each.mkdir(exist_ok=True)
        (each / "scores.parquet").write_bytes(content)
    try:
        table = read_scores(folders[0], [NLL]).to_pandas()
        with contextlib.redirect_stderr(io.StringIO()):
            joined = join_scores(*folders)
    except UserError:
        return False
    assert not table[[*SESSION, RESPONSE]].isna().to_numpy().any()
    assert (table[RESPONSE] >= 0).all()
    assert table[NLL].between(-1e-3, 1e7).all()
    assert 0 < sum(len(study.nll_base_R) for study in joined) <= min(9, len(table))
    return True


def check_simulated(data: bytes, folder: Path) -> bool:
    """Lines of a folder of simulated sessions are sessions, or passed over, or refused."""
    shutil.rmtree(folder / "store", ignore_errors=True)
    (folder / "store").mkdir()
    (folder / "store" / "process-0.jsonl").write_bytes(simulated_of_bytes(data))
    try:
        return bool(SimulationStore(folder / "store", {"model": "m"}).read())
    except UserError:
        return False


def check_sweep(sweep: Sweep) -> None:
    """Names are texts, values plain, ranges not empty."""
    for name, parameter in sweep.parameters.items():
        assert isinstance(name, str)
        assert all(isinstance(value, Value) for value in parameter.values)
        assert parameter.values or parameter.low <= parameter.high
        assert not parameter.log or parameter.low > 0
    assert sweep.method != "grid" or len(sweep.grid) >= 1
    assert all(number is None or number >= 1 for number in (sweep.run_cap, sweep.min_iter, sweep.max_iter))
    assert all(isinstance(piece, str) for piece in (*sweep.command, sweep.program, sweep.name, sweep.metric))


@contextlib.contextmanager
def _kept_environment() -> Iterator[None]:
    """The environment as it was, whatever the ``env`` of a YAML file adds to it."""
    before = dict(os.environ)
    try:
        yield
    finally:
        if os.environ != before:
            os.environ.clear()
            os.environ.update(before)


@cache
def _hints_of(kind: type) -> dict[str, object]:
    return typing.get_type_hints(kind)


def is_instance(value: object, hint: object) -> bool:
    """Whether ``value`` has the type ``hint``, of those that the arguments of this package have."""
    if typing.get_origin(hint) is list:
        return isinstance(value, list) and all(is_instance(one, typing.get_args(hint)[0]) for one in value)
    if typing.get_origin(hint) is typing.Literal:
        return value in typing.get_args(hint)
    if typing.get_args(hint):
        return any(is_instance(value, one) for one in typing.get_args(hint))
    if hint is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    return type(value) is hint


TARGETS: dict[str, Callable[[bytes, Path], bool]] = {
    "reader": check_reader,
    "spans": check_spans,
    "persona": check_persona,
    "yaml": check_yaml,
    "checkpoint": check_checkpoint,
    "run": check_run,
    "scores": check_scores,
    "simulated": check_simulated,
}
