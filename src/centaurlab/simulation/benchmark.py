"""How fast free runs are: against scoring as many sessions, and against one call of ``generate`` for every answer.

Each contestant runs in a process of its own, on the same made-up sessions: people's sessions of a study, joined and cut
after so many answers.
"""

import time
from collections.abc import Callable, Mapping, Sequence

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from centaurlab.data.options import cut_at_responses, session_options
from centaurlab.data.source import DataArguments, open_source
from centaurlab.data.transcripts import CLOSE, OPEN, Transcript
from centaurlab.display.tables import Table, rows_of
from centaurlab.models.arguments import ModelArguments
from centaurlab.models.loading import load_config, load_model, load_tokenizer
from centaurlab.models.passes import check_known
from centaurlab.models.shape import usable_window
from centaurlab.prompts.encoding import encode
from centaurlab.runtime.errors import UserError
from centaurlab.scoring.benchmark import Timing, peak_memory_bytes
from centaurlab.scoring.scorer import SessionScorer
from centaurlab.simulation.packed import PackedModel
from centaurlab.simulation.play import AnswerError
from centaurlab.simulation.player import Person, Player, Settings, Simulated
from centaurlab.simulation.questions import OpenLoop

CONTESTANTS = ("score", "simulate", "generate")
_REPLICATES = 4
_AT_ONCE = 32
_CALLS = 10
"""Of so many answers, spread evenly over a session, a call of ``generate`` is timed; all of them would take minutes."""


def sessions_of_answers(data: DataArguments, n_sessions: int, n_answers: int) -> list[Transcript]:
    """Sessions of ``n_answers`` choices each, of the study that tells them in the fewest words.

    Raises ``UserError`` where no study has so many choices.
    """
    texts: dict[str, list[str]] = {}
    for transcript in open_source(data):
        offered = session_options(transcript, {})
        if all(offered.of(number) for number in range(len(offered.set_R))):
            texts.setdefault(transcript.study, []).append(transcript.text)
    found = [joined for of_study in texts.values() if (joined := _joined(of_study, n_sessions, n_answers))]
    if not found:
        raise UserError(f"{data.data} has no study of {n_sessions * n_answers} choices; change --sessions or --answers")
    shortest = min(found, key=lambda of_study: sum(map(len, of_study)))
    return [Transcript(text, "benchmark", "", str(number)) for number, text in enumerate(shortest)]


def _joined(texts: Sequence[str], n_sessions: int, n_answers: int) -> list[str] | None:
    sessions: list[str] = []
    text, counted = "", 0
    for more in texts:
        segments, answers = cut_at_responses(more)
        for segment, answer in zip(segments, answers, strict=False):
            text, counted = f"{text}{segment}{OPEN}{answer}{CLOSE}", counted + 1
            if counted == n_answers:
                sessions.append(text)
                text, counted = "", 0
                break
        if len(sessions) == n_sessions:
            return sessions
        text += segments[-1] if text else ""
    return None


def time_contestant(contestant: str, model_args: ModelArguments, sessions: Sequence[Transcript]) -> Timing:
    """Time one contestant in this process, without loading: ``score``, ``simulate``, or ``generate`` (one session).

    Of ``generate`` a tenth of a session's 100 answers are timed, in the middle of each tenth of it, and count for ten
    each. Without a GPU ``seconds`` are CPU time. ``nll`` is empty: what is timed answers, or scores, other texts.
    """
    device = torch.accelerator.current_accelerator() or torch.device("cpu")
    model, tokenizer = load_model(model_args, device), load_tokenizer(model_args)
    encodings = [encode(session.text, tokenizer) for session in sessions]
    check_known(model, *(encoding.input_ids_T for encoding in encodings))
    tokens = sum(len(encoding.input_ids_T) for encoding in encodings) * _REPLICATES
    counts_for = 1.0
    run: Callable[[], None]
    if contestant == "score":
        scorer = SessionScorer(model)

        def run() -> None:
            for encoding in encodings:
                for _ in range(_REPLICATES):
                    scorer.score(encoding)

    elif contestant == "simulate":
        settings = Settings(0, 1.0, usable_window(load_config(model_args), None), 1)
        player = Player(PackedModel(model), tokenizer, settings, _AT_ONCE)
        people = [
            Person(one.key, OpenLoop(one, None, session_options(one, {}), "unknown"), (*range(1, _REPLICATES + 1),))
            for one in sessions
        ]

        def run() -> None:
            player.play(people, _must_have_ended)

    else:
        tokens = len(encodings[0].input_ids_T)
        prompts = _prompts(sessions[0].text)
        called = spread(len(prompts), _CALLS)
        counts_for = len(prompts) / len(called)

        def run() -> None:
            for number in called:
                _generate(model, tokenizer, prompts[number])

    clock = time.process_time if device.type == "cpu" else time.perf_counter
    started = clock()
    run()
    return Timing((clock() - started) * counts_for, tokens, peak_memory_bytes(), [])


def spread(n: int, most: int) -> list[int]:
    """At most ``most`` of the numbers below ``n``, in the middle of equal parts."""
    n_parts = min(n, most)
    return [int((part + 0.5) * n / n_parts) for part in range(n_parts)]


def _must_have_ended(person: Person, replicate: int, ended: Simulated | AnswerError) -> None:
    if isinstance(ended, AnswerError):
        raise UserError(f"the benchmark's session {person.key.participant} cannot be simulated: {ended}")


def _prompts(text: str) -> list[str]:
    """What was said before each answer, as a caller of ``generate`` says it."""
    prompts, told = [], ""
    segments, answers = cut_at_responses(text)
    for segment, answer in zip(segments, answers, strict=False):
        told += segment + OPEN
        prompts.append(told)
        told += answer + CLOSE
    return prompts


@torch.inference_mode()
def _generate(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, told: str) -> None:
    """One call of ``generate`` on all that was said so far: what published simulators do for every answer."""
    inputs = tokenizer(told, return_tensors="pt").to(model.device)
    # transformers types the method as a tensor
    model.generate(  # type: ignore[operator]
        **inputs, max_new_tokens=1, do_sample=True, top_k=0, pad_token_id=tokenizer.eos_token_id
    )


def seconds_per_session(timed: Mapping[str, Timing], n_sessions: int) -> dict[str, float]:
    """Seconds for one session of one replicate."""
    sessions = {"score": n_sessions * _REPLICATES, "simulate": n_sessions * _REPLICATES, "generate": 1}
    return {name: timing.seconds / sessions[name] for name, timing in timed.items()}


def simulation_table(timed: Mapping[str, Timing], n_sessions: int) -> Table:
    """Seconds for a session, memory, and how many times those of a free run."""
    per_session = seconds_per_session(timed, n_sessions)
    rows = (
        (
            name,
            round(per_session[name], 2),
            f"{timing.peak_memory_bytes / 2**30:.2f} GiB",
            per_session[name] / per_session["simulate"],
        )
        for name, timing in timed.items()
    )
    note = (
        f"score, simulate: {_REPLICATES} replicates of each session; generate: one session, a call for every answer, "
        f"timed for {_CALLS} spread over it; s: of CPU time, on a GPU of the clock"
    )
    return rows_of("", ("contestant", "s / session", "peak memory", "× a free run"), rows, note)
