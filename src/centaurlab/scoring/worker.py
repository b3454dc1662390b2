"""One process's share of a run: its sessions into results in the store."""

import gc
import sys
import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace

import numpy as np
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
from centaurlab.results.record import Coverage
from centaurlab.runtime.errors import UserError
from centaurlab.runtime.names import counted, shown
from centaurlab.scoring.beside import ahead, behind
from centaurlab.scoring.engine_vllm import BATCH_TOKENS, VllmEngine, VllmScorer
from centaurlab.scoring.failures import Failure
from centaurlab.scoring.kept import KeptScorer
from centaurlab.scoring.options import OptionTokens
from centaurlab.scoring.order import divide, shared_by_pieces
from centaurlab.scoring.pace import Pace
from centaurlab.scoring.plan import PlannedSession, SessionPlan, estimate_lengths
from centaurlab.scoring.responses import NonFiniteError, SessionError
from centaurlab.scoring.scorer import (
    WHOLE_SEQUENCE_TOKENS,
    Piece,
    ScoredSession,
    SessionScorer,
    is_out_of_memory,
)
from centaurlab.scoring.store import ScoreStore, SessionResult

_PACKING_TOLERANCE = 0.02
"""Nats per response, on average, by which a session's neighbours in its pass may move it."""

_TRIED_SESSIONS = 4

_AHEAD_TOKENS = 128
"""Of a short session: while a pass is computed, so many are tokenized as the next would hold of these."""


@dataclass(frozen=True)
class ModelToScore:
    """A model before it is loaded: what it is loaded from, and how sessions have to be cut for it.

    ``shape``: None where it cannot be read. ``max_tokens``: its context window. ``chunk_tokens``: how many are computed
    at once; None: what suits it. ``fingerprint``: of its identity, under which its self-check is kept; None: it is not.
    ``loaded``: the model itself, where it is in memory already. ``long_options``: whether the probability of options of
    several tokens is computed. ``batch_tokens``: short sessions of together so many share a pass; 0: none; None: as
    suits the device. ``shards``: so many consecutive processes have one model together. ``kept``: a
    scorer of this model, if it is the one that a run before this one left.
    """

    arguments: ModelArguments
    tokenizer: PreTrainedTokenizerBase
    shape: ModelShape | None
    max_tokens: int
    chunk_tokens: int | None = None
    fingerprint: str | None = None
    loaded: LoadedModel | None = None
    long_options: bool = True
    batch_tokens: int | None = None
    shards: int = 1
    engine: VllmEngine | None = None
    kept: KeptScorer | None = None


@dataclass(frozen=True)
class _Encoded:
    """A session as the model reads it; ``seconds`` is how long the model waited for that."""

    session: PlannedSession
    pieces: tuple[Piece, ...]
    seconds: float = 0.0

    @property
    def n_tokens(self) -> int:
        return sum(piece.n_tokens for piece in self.pieces)

    @property
    def coverage(self) -> Coverage:
        return sum((piece.encoding.coverage for piece in self.pieces), Coverage())


class Worker:
    """One process's part of a run: scores those of its sessions that the store lacks, loading the model at the first.

    Processes that have one model together do the same, and the first of them stores it.
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
        self._group, rank_in_group = divmod(state.process_index, model.shards)
        self._stores = rank_in_group == 0
        self._loads = [0.0] * (state.num_processes // model.shards)
        self._options = OptionTokens(model.tokenizer, model.long_options)
        self._scorer: SessionScorer | VllmScorer | None = None
        own = BATCH_TOKENS if model.engine else 0 if state.device.type == "cpu" else WHOLE_SEQUENCE_TOKENS
        self._batch_tokens: int = own if model.batch_tokens is None else model.batch_tokens
        self._is_packing_tried = False
        self._pace = Pace()

    def score(self, sessions: frozenset[SessionKey] | None, title: str) -> None:
        """Score this process's share of ``sessions`` (None: all) under a progress bar with ``title``.

        All sessions are planned, whichever are scored, so that the results are those of a full run.
        """
        later, done = self.plan.survey.n_characters(sessions), 0
        is_main = self.state.is_main_process
        with (
            behind() as self._behind,
            tqdm(desc=title, unit="tok", unit_scale=True, smoothing=0.05, disable=not is_main) as bar,
        ):
            for window in self.plan.windows():
                wanted = [session for session in window if sessions is None or session.key in sessions]
                later -= sum(session.n_characters for session in wanted)
                mine = self._share(wanted)
                left = sum(session.n_characters for session in mine) + later // len(self._loads)
                with closing(self._batches(mine)) as batches:
                    for batch in batches:
                        bar.set_postfix_str(shown(batch[0].session.key.study[:30]), refresh=False)
                        self._score_batch(batch)
                        n_tokens = sum(encoded.n_tokens for encoded in batch)
                        n_characters = sum(encoded.session.n_characters for encoded in batch)
                        done, left = done + n_characters, left - n_characters
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
        if len(self._loads) == 1:
            return found
        costs = self._costs(found)
        shares = divide(costs, len(self._loads), self._loads)
        for process, share in enumerate(shares):
            self._loads[process] += sum(costs[i] for i in share)
        return [found[i] for i in shares[self._group]]

    def _costs(self, sessions: list[PlannedSession]) -> list[float]:
        """Estimated floating-point operations to score each session; its tokens where these cannot be counted."""
        lengths = estimate_lengths(sessions, self.model.tokenizer, self.model.max_tokens)
        shape = self.model.shape
        if shape is None:
            return [length.n_tokens for length in lengths]
        return [shape.flops(length.n_tokens, length.n_tokens, length.n_response_tokens) for length in lengths]

    def _load(self) -> SessionScorer | VllmScorer:
        model = self.model
        key = (model.arguments, model.fingerprint, model.chunk_tokens, bool(self._batch_tokens), model.engine)
        scorer = model.kept.of(key, self._new_scorer) if model.kept else self._new_scorer()
        self._note(scorer.check.notes)
        if self._batch_tokens and not scorer.check.packed:
            self._note(["self-check: a neighbour in its pass changes this model's NLLs, so no session has one"])
        return scorer

    def _new_scorer(self) -> SessionScorer | VllmScorer:
        if self.model.engine:
            return self.model.engine.scorer(self.model.arguments, self.model.max_tokens, self._own_scorer)
        return self._own_scorer(self.model.arguments)

    def _own_scorer(self, arguments: ModelArguments) -> SessionScorer:
        loaded = self.model.loaded
        model = loaded.model if loaded else load_model(arguments, self.state.device, self.model.shards)
        check = self_check(model, self.model.fingerprint, ["packed"] if self._batch_tokens else [])
        return SessionScorer(model, self.model.chunk_tokens, check)

    def _note(self, notes: Sequence[str]) -> None:
        """Say once what the model cannot be fed with or asked."""
        new = tuple(note for note in notes if note not in self.notes)
        if new and self.state.is_main_process:
            tqdm.write("\n".join(f"note: {note}" for note in new), file=sys.stderr)
        self.notes += new

    def _encode(self, session: PlannedSession) -> _Encoded:
        prompts = session.prompt.pieces()
        encodings = [encode_prompt(prompt, self.model.tokenizer, self.model.max_tokens) for prompt in prompts]
        coverage = [encoding.coverage for encoding in encodings]
        if any(one.cut for one in coverage) and not any(one.scored for one in coverage) and not self._tolerant:
            raise UserError(
                f"{session.origin}: the first response of {session.key} ends beyond the context window of "
                f"{self.model.max_tokens} tokens; use a model with a longer one, raise --max_length, or leave such "
                "sessions out with --on_malformed skip"
            )
        pieces = tuple(
            Piece(encoding, self._options.of(prompt, encoding, session.options), _shared_tokens(encoding, shared))
            for prompt, encoding, shared in zip(
                prompts, encodings, shared_by_pieces(prompts, session.shared), strict=True
            )
        )
        return _Encoded(session, pieces)

    def _encoded(self, sessions: Sequence[PlannedSession]) -> Iterator[_Encoded]:
        started = time.perf_counter()
        for encoded in ahead(self._encode, sessions, 2 + self._batch_tokens // _AHEAD_TOKENS):
            yield replace(encoded, seconds=time.perf_counter() - started)
            started = time.perf_counter()

    def _batches(self, sessions: Sequence[PlannedSession]) -> Generator[list[_Encoded]]:
        """Sessions that share a pass; those that cannot, or are too long to gain by it, are by themselves."""
        waiting: list[_Encoded] = []
        if not sessions:
            return
        if self._scorer is None:
            self._scorer = self._load()
        for new in self._encoded(sessions):
            (piece, *more) = new.pieces
            is_long = 2 * new.n_tokens > self._batch_tokens
            if is_long or more or not self._scorer.can_be_packed(piece.encoding, piece.options):
                yield [new]
                continue
            if sum(encoded.n_tokens for encoded in waiting) + new.n_tokens > self._batch_tokens:
                yield waiting
                waiting = []
            waiting.append(new)
        if waiting:
            yield waiting

    def _score_batch(self, batch: Sequence[_Encoded]) -> None:
        """Score sessions into the store."""
        started = time.perf_counter()
        together = self._score_together(batch) if len(batch) > 1 else None
        if together is None:
            for encoded in batch:
                self._score_alone(encoded)
            return
        seconds = (time.perf_counter() - started) / sum(encoded.n_tokens for encoded in batch)
        results = [
            self._result(encoded, scored, encoded.seconds + seconds * encoded.n_tokens)
            for encoded, scored in zip(batch, together, strict=True)
        ]
        if self._stores:
            self._behind(self.store.add_together, dict(results))

    def _score_together(self, batch: Sequence[_Encoded]) -> list[ScoredSession] | None:
        """The scores of sessions in one pass; None: they have to be scored one after another."""
        assert self._scorer is not None
        try:
            together = self._scorer.score_together(
                [(piece.encoding, piece.options) for one in batch for piece in one.pieces]
            )
        except (SessionError, RuntimeError, MemoryError) as error:
            if not isinstance(error, SessionError) and not is_out_of_memory(error):
                raise
            self._end_if_others_wait(error, f"{self.model.arguments.model_name_or_path}: {batch[0].session.key}, …")
            return None  # alone, those concerned are named
        self._note(self._scorer.notes)
        if not self._is_packing_tried:
            self._is_packing_tried = True
            return together if self._is_packing_exact(batch, together) else None
        return together

    def _is_packing_exact(self, batch: Sequence[_Encoded], together: Sequence[ScoredSession]) -> bool:
        """Say how far sharing a pass moves the NLLs of the first sessions, and end it where that is too far."""
        assert self._scorer is not None
        tried = [piece for encoded in batch[:_TRIED_SESSIONS] for piece in encoded.pieces]
        alone = [self._scorer.score_pieces([replace(piece, shared=())]) for piece in tried]
        moved_R = np.concatenate(
            [np.abs(a.scores.nll_R - b.scores.nll_R) for a, b in zip(alone, together, strict=False)]
        )
        found = f"self-check: sharing a pass moves an NLL by {moved_R.mean():.1e} nats on average"
        if not moved_R.mean() <= _PACKING_TOLERANCE:
            self._batch_tokens = 0
            self._note([f"{found}, so sessions are computed one after another"])
            return False
        of = f"{counted(len(moved_R), 'response')} of {counted(len(alone), 'session')}"
        self._note([f"{found}, {moved_R.max():.1e} at most ({of})"])
        return True

    def _score_alone(self, encoded: _Encoded) -> None:
        """Score a session into the store, or tell why it cannot be."""
        assert self._scorer is not None
        session, started = encoded.session, time.perf_counter()
        name = f"{self.model.arguments.model_name_or_path}: {session.origin}: {session.key}"
        try:
            scored = self._scorer.score_pieces(encoded.pieces)
        except SessionError as error:
            self._end_if_others_wait(error, name)
            failure = Failure(f"{name}: {error}", encoded.coverage.of_failed_session)
            self.failures[session.digest] = failure
            tqdm.write(shown(f"not scored: {failure.reason}"), file=sys.stderr)
            return
        self._note(self._scorer.notes)
        if scored.n_out_of_memory:
            tqdm.write(shown(f"note: {name}: computed in smaller chunks, as memory ran out"), file=sys.stderr)
        result = self._result(encoded, scored, encoded.seconds + time.perf_counter() - started)
        if self._stores:
            self._behind(self.store.add, *result)

    def _end_if_others_wait(self, error: Exception, name: str) -> None:
        """End this process for what the others of its group may not have met: they would wait for its part for good."""
        if self.model.shards > 1 and not isinstance(error, NonFiniteError):
            raise UserError(
                f"{name}: {error}; the {self.model.shards} processes that have the model together end with this one "
                "(memory: a smaller --chunk_tokens); what is scored is kept, and the same command goes on"
            ) from error

    def _result(self, encoded: _Encoded, scored: ScoredSession, seconds: float) -> tuple[str, SessionResult]:
        """A session's entry in the store."""
        self.tokens_computed += scored.n_computed if self._stores else 0
        seconds *= self.model.shards  # of each of them, so that a speed is that of one process
        of_one_speed = encoded.session.key.study, encoded.n_tokens.bit_length(), scored.n_computed.bit_length()
        if said := self._pace.add(of_one_speed, scored.n_computed, seconds):
            self._note([said])
        return encoded.session.digest, SessionResult(
            scored.scores, encoded.coverage, encoded.n_tokens, scored.n_computed, seconds, scored.n_out_of_memory
        )


def _shared_tokens(encoding: Encoding, characters: tuple[int, ...]) -> list[int]:
    """Shared characters as numbers of whole tokens, each before the position that predicts the first response."""
    if not len(encoding.start_R):
        return []
    counts = [int((encoding.end_character_T <= n).sum()) for n in characters]
    return [n for n in sorted(set(counts)) if 0 < n < encoding.start_R[0]]
