"""One process's share of a run: its sessions into results in the store."""

import gc
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from accelerate import PartialState
from tqdm.auto import tqdm
from transformers import PreTrainedTokenizerBase

from centaurlab.data.transcripts import SessionKey
from centaurlab.models.arguments import ModelArguments
from centaurlab.models.loaded import LoadedModel
from centaurlab.models.loading import load_model
from centaurlab.models.self_check import self_check
from centaurlab.models.shape import ModelShape
from centaurlab.prompts.encoding import Encoding, encode_prompt
from centaurlab.results.table import ResponseScores
from centaurlab.runtime.errors import UserError
from centaurlab.runtime.names import shown
from centaurlab.scoring.failures import Failure
from centaurlab.scoring.options import OptionTokens
from centaurlab.scoring.order import divide
from centaurlab.scoring.plan import PlannedSession, SessionPlan, estimate_lengths
from centaurlab.scoring.scorer import SessionError, SessionScorer
from centaurlab.scoring.store import ScoreStore, SessionResult


@dataclass(frozen=True)
class ModelToScore:
    """A model before it is loaded: what it is loaded from, and how sessions have to be cut for it.

    ``shape``: None where it cannot be read. ``max_tokens``: its context window. ``chunk_tokens``: how many are computed
    at once; None: what suits it. ``fingerprint``: of its identity, under which its self-check is kept; None: it is not.
    ``loaded``: the model itself, where it is in memory already. ``long_options``: whether the probability of options of
    several tokens is computed.
    """

    arguments: ModelArguments
    tokenizer: PreTrainedTokenizerBase
    shape: ModelShape | None
    max_tokens: int
    chunk_tokens: int | None = None
    fingerprint: str | None = None
    loaded: LoadedModel | None = None
    long_options: bool = True


class Worker:
    """One process's part of a run: scores those of its sessions that the store lacks, loading the model at the first.

    ``tolerant``: a session whose first response lies beyond the context window is left out, and does not end the run.
    ``failures`` are this process's sessions that could not be scored, by their digest. ``tokens_computed`` are those
    that went through the model for the sessions that could. ``notes`` say what the model's self-check switched off.
    """

    def __init__(
        self, model: ModelToScore, plan: SessionPlan, store: ScoreStore, state: PartialState, tolerant: bool = False
    ) -> None:
        self.model = model
        self.plan = plan
        self.store = store
        self.state = state
        self.failures: dict[str, Failure] = {}
        self.tokens_computed = 0
        self.notes: tuple[str, ...] = ()
        self._tolerant = tolerant
        self._settled = store.known  # and what some process has been given since, the same on all
        self._loads = [0.0] * state.num_processes
        self._options = OptionTokens(model.tokenizer, model.long_options)
        self._scorer: SessionScorer | None = None

    def score(self, sessions: frozenset[SessionKey] | None, title: str) -> None:
        """Score this process's share of ``sessions`` (None: all) under a progress bar with ``title``.

        All sessions are planned, whichever are scored, so that the results are those of a full run.
        """
        later, done = self.plan.survey.n_characters(sessions), 0
        is_main = self.state.is_main_process
        with tqdm(desc=title, unit="tok", unit_scale=True, smoothing=0.05, disable=not is_main) as bar:
            for window in self.plan.windows():
                wanted = [session for session in window if sessions is None or session.key in sessions]
                later -= sum(session.n_characters for session in wanted)
                mine = self._share(wanted)
                left = sum(session.n_characters for session in mine) + later // self.state.num_processes
                for session in mine:
                    bar.set_postfix_str(shown(session.key.study[:30]), refresh=False)
                    n_tokens = self._score_session(session)
                    done, left = done + session.n_characters, left - session.n_characters
                    bar.total = round((bar.n + n_tokens) * (1 + left / done))
                    bar.update(n_tokens)
            bar.leave = bar.n > 0

    def release(self) -> None:
        """Let go of the model until the next session."""
        self._scorer = None
        gc.collect()
        if self.state.device.type == "cuda":
            torch.cuda.empty_cache()

    def _share(self, wanted: list[PlannedSession]) -> list[PlannedSession]:
        """Choose this process's share of the sessions wanted, one of each text; every process divides alike."""
        missing: dict[str, PlannedSession] = {}
        for session in wanted:
            if session.digest not in self._settled:
                missing.setdefault(session.digest, session)
        for digest in missing:
            self._settled.add(digest)
        found = list(missing.values())
        if self.state.num_processes == 1:
            return found
        costs = self._costs(found)
        shares = divide(costs, self.state.num_processes, self._loads)
        for process, share in enumerate(shares):
            self._loads[process] += sum(costs[i] for i in share)
        return [found[i] for i in shares[self.state.process_index]]

    def _costs(self, sessions: list[PlannedSession]) -> list[float]:
        """Estimated floating-point operations to score each session; its tokens where these cannot be counted."""
        lengths = estimate_lengths(sessions, self.model.tokenizer, self.model.max_tokens)
        shape = self.model.shape
        if shape is None:
            return [length.n_tokens for length in lengths]
        return [shape.flops(length.n_tokens, length.n_tokens, length.n_response_tokens) for length in lengths]

    def _load(self) -> SessionScorer:
        loaded = self.model.loaded
        model = loaded.model if loaded else load_model(self.model.arguments, self.state.device)
        check = self_check(model, self.model.fingerprint)
        self._note(check.notes)
        return SessionScorer(model, self.model.chunk_tokens, check)

    def _note(self, notes: Sequence[str]) -> None:
        """Say once what the model cannot be fed with or asked."""
        new = tuple(note for note in notes if note not in self.notes)
        if new and self.state.is_main_process:
            tqdm.write("\n".join(f"note: {note}" for note in new), file=sys.stderr)
        self.notes += new

    def _score_session(self, session: PlannedSession) -> int:
        """Score a session into the store; its number of tokens."""
        if self._scorer is None:
            self._scorer = self._load()
        started = time.perf_counter()
        encoding = encode_prompt(session.prompt, self.model.tokenizer, self.model.max_tokens)
        if encoding.coverage.cut and not encoding.coverage.scored and not self._tolerant:
            raise UserError(
                f"{session.origin}: the first response of {session.key} ends beyond the context window of "
                f"{self.model.max_tokens} tokens; use a model with a longer one, raise --max_length, or leave such "
                "sessions out with --on_malformed skip"
            )
        name = f"{self.model.arguments.model_name_or_path}: {session.origin}: {session.key}"
        try:
            options = self._options.of(session.prompt, encoding, session.options)
            scored = self._scorer.score(encoding, _shared_tokens(encoding, session.shared), options)
        except SessionError as error:
            failure = Failure(f"{name}: {error}", encoding.coverage.of_failed_session)
            self.failures[session.digest] = failure
            tqdm.write(shown(f"not scored: {failure.reason}"), file=sys.stderr)
            return len(encoding.input_ids_T)
        self._note(self._scorer.notes)
        if scored.n_out_of_memory:
            tqdm.write(shown(f"note: {name}: computed in smaller chunks, as memory ran out"), file=sys.stderr)
        self.tokens_computed += scored.n_computed
        seconds = time.perf_counter() - started
        n_tokens = len(encoding.input_ids_T)
        self.store.add(
            session.digest,
            SessionResult(_with_items(scored.scores, session), encoding.coverage, n_tokens, scored.n_computed, seconds),
        )
        return n_tokens


def _with_items(scores: ResponseScores, session: PlannedSession) -> ResponseScores:
    return replace(scores, item_R=session.items_R[scores.response_R])


def _shared_tokens(encoding: Encoding, characters: tuple[int, ...]) -> list[int]:
    """Shared characters as numbers of whole tokens, each before the position that predicts the first response."""
    if not len(encoding.start_R):
        return []
    counts = [int((encoding.end_character_T <= n).sum()) for n in characters]
    return [n for n in sorted(set(counts)) if 0 < n < encoding.start_R[0]]
