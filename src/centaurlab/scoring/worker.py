"""One process's share of a run: its sessions into results in the store."""

import gc
import sys
import time

import torch
from accelerate import PartialState
from tqdm.auto import tqdm
from transformers import PreTrainedTokenizerBase

from centaurlab.data.source import DataArguments, TranscriptSource
from centaurlab.data.transcripts import SessionKey, Transcript
from centaurlab.models.arguments import ModelArguments
from centaurlab.models.loading import load_model
from centaurlab.models.shape import ModelShape
from centaurlab.prompts.context import Reading
from centaurlab.prompts.encoding import Encoding, encode_prompt
from centaurlab.runtime.errors import UserError
from centaurlab.scoring.arguments import ScoreArguments
from centaurlab.scoring.failures import Failure
from centaurlab.scoring.order import divide, estimate_lengths, plan_sessions, windows
from centaurlab.scoring.scorer import SessionError, SessionScorer
from centaurlab.scoring.store import ScoreStore, SessionResult


class _Worker:
    """One process's part: scores those of its sessions that the store lacks, loading the model at the first."""

    def __init__(
        self,
        model_arguments: ModelArguments,
        data_arguments: DataArguments,
        arguments: ScoreArguments,
        reading: Reading,
        tokenizer: PreTrainedTokenizerBase,
        max_tokens: int,
        shape: ModelShape,
        store: ScoreStore,
        state: PartialState,
    ) -> None:
        self._model_arguments = model_arguments
        self._tolerant = data_arguments.on_malformed == "skip"
        self._arguments = arguments
        self._reading = reading
        self._tokenizer = tokenizer
        self._max_tokens = max_tokens
        self._shape = shape
        self._store = store
        self._state = state
        self._loads = [0.0] * state.num_processes
        self._scorer: SessionScorer | None = None
        self.failures: dict[str, Failure] = {}
        self._tokens_before = 0

    def score(
        self, source: TranscriptSource, n_characters: int, sessions: frozenset[SessionKey] | None, title: str
    ) -> None:
        """Score this process's share of ``sessions`` (None: all), whose ``n_characters`` scale the progress bar.

        All sessions of the source are planned, whichever are scored, so that the results are those of a full run.
        """
        with tqdm(
            desc=title,
            unit="tok",
            unit_scale=True,
            smoothing=0.05,
            disable=not self._state.is_main_process,
        ) as bar:
            later, done = n_characters, 0
            for transcripts in windows(source):
                later -= sum(len(t.text) for t in transcripts if sessions is None or t.key in sessions)
                mine = self._share(transcripts, sessions)
                left = sum(len(transcript.text) for transcript, _ in mine) + later // self._state.num_processes
                for transcript, shared in mine:
                    bar.set_postfix_str(transcript.study[:30], refresh=False)
                    n_tokens = self._score_session(transcript, shared)
                    done, left = done + len(transcript.text), left - len(transcript.text)
                    bar.total = round((bar.n + n_tokens) * (1 + left / done))
                    bar.update(n_tokens)
            bar.leave = bar.n > 0

    @property
    def tokens_computed(self) -> int:
        """Tokens that went through the model in this run, on this process."""
        return self._tokens_before + (self._scorer.tokens_computed if self._scorer else 0)

    def release(self) -> None:
        """Let go of the model until the next session."""
        self._tokens_before, self._scorer = self.tokens_computed, None
        gc.collect()
        if self._state.device.type == "cuda":
            torch.cuda.empty_cache()

    def _share(
        self, transcripts: list[Transcript], sessions: frozenset[SessionKey] | None
    ) -> list[tuple[Transcript, tuple[int, ...]]]:
        """The sessions of a window that are this process's to score, each with its shared prefixes."""
        planned = plan_sessions([self._reading.beginning(transcript) for transcript in transcripts])
        missing: dict[str, tuple[Transcript, tuple[int, ...]]] = {}
        for session in planned:
            transcript = transcripts[session.index]
            if sessions is not None and transcript.key not in sessions:
                continue
            digest = self._reading.digest(transcript)
            if digest not in self._store:
                missing.setdefault(digest, (transcript, session.shared))
        found = list(missing.values())
        if self._state.num_processes == 1:
            return found
        costs = self._costs([transcript for transcript, _ in found])
        shares = divide(costs, self._state.num_processes, self._loads)
        for process, share in enumerate(shares):
            self._loads[process] += sum(costs[i] for i in share)
        return [found[i] for i in shares[self._state.process_index]]

    def _costs(self, transcripts: list[Transcript]) -> list[float]:
        """Of scoring each, in floating-point operations."""
        lengths = estimate_lengths(transcripts, self._reading.prompt, self._tokenizer, self._max_tokens)
        return [self._shape.flops(length.n_tokens, length.n_tokens, length.n_response_tokens) for length in lengths]

    def _score_session(self, transcript: Transcript, shared_characters: tuple[int, ...]) -> int:
        if self._scorer is None:
            model = load_model(self._model_arguments, self._state.device)
            self._scorer = SessionScorer(model, self._arguments.chunk_tokens)
        started = time.perf_counter()
        encoding = encode_prompt(self._reading.prompt(transcript), self._tokenizer, self._max_tokens)
        if encoding.coverage.cut and not encoding.coverage.scored and not self._tolerant:
            raise UserError(
                f"{transcript.origin}: the first response of {transcript.key} ends beyond the context window of "
                f"{self._max_tokens} tokens; use a model with a longer one, raise --max_length, or leave such "
                "sessions out with --on_malformed skip"
            )
        before = self._scorer.tokens_computed
        digest = self._reading.digest(transcript)
        name = f"{self._model_arguments.model_name_or_path}: {transcript.origin}: {transcript.key}"
        try:
            scores = self._scorer.score(encoding, _shared_tokens(encoding, shared_characters))
        except SessionError as error:
            self.failures[digest] = Failure(f"{name}: {error}", encoding.coverage.of_failed_session)
            tqdm.write(f"not scored: {self.failures[digest].reason}", file=sys.stderr)
            return len(encoding.input_ids_T)
        if self._scorer.out_of_memory:
            tqdm.write(f"note: {name}: computed in smaller chunks, as memory ran out", file=sys.stderr)
        seconds = time.perf_counter() - started
        n_computed = self._scorer.tokens_computed - before
        result = SessionResult(scores, encoding.coverage, len(encoding.input_ids_T), n_computed, seconds)
        self._store.add(digest, result)
        return len(encoding.input_ids_T)


def _shared_tokens(encoding: Encoding, characters: tuple[int, ...]) -> list[int]:
    """Shared characters as numbers of whole tokens, each before the position that predicts the first response."""
    if not len(encoding.start_R):
        return []
    counts = [int((encoding.end_character_T <= n).sum()) for n in characters]
    return [n for n in sorted(set(counts)) if 0 < n < encoding.start_R[0]]
