"""Encoded sessions and a model in, one negative log-likelihood per human response out.

The forward pass does only what the responses need: the LM head is applied at response positions alone, nothing
after the last response is computed, a prefix that neighbouring sessions share stays in the KV cache, and long or
sliding-window contexts go through the cache in chunks, so that memory stays flat; a model that does not pass its
self-check in one of these is fed without. How a session is cut into chunks depends on the session and the data set
alone, never on what was computed before: a resumed run and one on several processes give the same numbers, bit for bit.
"""

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from accelerate.utils.memory import clear_device_cache, should_reduce_batch_size
from transformers import DynamicCache, PreTrainedModel

from centaurlab.models.passes import HeadRows, accepts, logits_of, n_embeddings, rows_of_several, unknown_token
from centaurlab.models.self_check import SelfCheck, self_check
from centaurlab.models.sharding import is_divided
from centaurlab.prompts.encoding import Encoding, Ints, pairs
from centaurlab.results.table import TEMPERATURES, ResponseScores
from centaurlab.runtime.errors import UserError, one_line
from centaurlab.scoring.option_passes import UNKNOWN, OptionPasses, SeenCache
from centaurlab.scoring.option_trees import Branching
from centaurlab.scoring.options import ResponseOptions
from centaurlab.scoring.responses import SessionError, no_scores, per_response, response_positions
from centaurlab.scoring.token_statistics import TokenStatistics, token_statistics

WHOLE_SEQUENCE_TOKENS = 4_096
"""Longest stretch computed at once on a GPU (memory of its activations)."""

CPU_CHUNK_TOKENS = 512
"""The same on a CPU, and never above a model's sliding window."""

HEAD_ROWS = 256
"""Response tokens that wait for the LM head, which on a CPU reads all its weights for every product, large or small."""

_REASON_CHARACTERS = 200


_SMALLER_CHUNKS = (1, 4, 16)
"""Divisors of a chunk: what is tried in turn while memory does not suffice."""


class SessionMemoryError(SessionError):
    """Memory does not suffice for the session, however small the chunks."""


class ModelFailureError(SessionError):
    """The model's own code fails on the session."""


def best_chunk(model: PreTrainedModel) -> int:
    """How many tokens to compute at once.

    On a GPU long matrix products and the attention kernel are fastest whole. On a CPU they are fastest while a
    chunk's activations stay in its cache, and a window's mask is no larger than it need be.
    """
    if next(model.parameters()).device.type != "cpu":
        return WHOLE_SEQUENCE_TOKENS
    return min(CPU_CHUNK_TOKENS, getattr(model.config.get_text_config(), "sliding_window", None) or CPU_CHUNK_TOKENS)


@dataclass(frozen=True)
class Piece:
    """What the model reads without a break, and what each response could have been.

    ``shared``: increasing numbers of leading tokens in common with neighbours; each ends before the position that
    predicts the first response. Their keys and values are kept for what comes next.
    """

    encoding: Encoding
    options: ResponseOptions
    shared: Sequence[int] = ()

    @property
    def n_tokens(self) -> int:
        """Of all of it."""
        return len(self.encoding.input_ids_T)


@dataclass(frozen=True)
class ScoredSession:
    """A session's scores and what they took.

    ``n_computed``: tokens that went through the model; the others of the session came from a neighbour's cache.
    ``n_out_of_memory``: how often memory did not suffice, after which it was computed in smaller chunks.
    """

    scores: ResponseScores
    n_computed: int = 0
    n_out_of_memory: int = 0


class SessionScorer:
    """Scores one session after another with a model; sessions that share a prefix should be neighbours.

    ``chunk_tokens``: how many tokens to compute at once; default: what suits the model and its device.
    ``check``: what the model may be fed with; default: it is found out here. ``notes``: what else it cannot be asked.
    """

    def __init__(self, model: PreTrainedModel, chunk_tokens: int | None = None, check: SelfCheck | None = None) -> None:
        self._model = model
        self._device = next(model.parameters()).device
        self._n_known = n_embeddings(model)
        self.check = check or self_check(model)
        self._chunk_tokens = chunk_tokens or best_chunk(model)
        self._rope_is_long = False
        self._passes: OptionPasses | None = None
        self._passes_are_known = False
        self.notes: tuple[str, ...] = ()
        self._prefixes: list[tuple[Ints, SeenCache]] = []

    def forget(self) -> None:
        """Keep nothing of the sessions scored: what comes next is computed as by a new scorer, to the last bit."""
        self._prefixes.clear()

    def score(
        self, encoding: Encoding, shared: Sequence[int] = (), options: ResponseOptions | None = None
    ) -> ScoredSession:
        """Score all responses of a session that is one piece; as ``score_pieces``."""
        return self.score_pieces([Piece(encoding, options or _no_options(encoding), shared)])

    @torch.inference_mode()
    def score_pieces(self, pieces: Sequence[Piece]) -> ScoredSession:
        """Score all responses of a session, which is one piece or several, before each of which the model begins anew.

        The responses of short pieces share products with the LM head, whose weights would else be read for each.

        Returns
        -------
        ScoredSession
            An NLL in nats for each response that has tokens, with what else ``ResponseScores`` holds.

        Raises
        ------
        SessionError
            Where memory does not suffice even for the smallest chunks, the model gives a NaN or infinite number, or its
            own code fails.
        """
        pieces = [piece for piece in pieces if len(piece.encoding.start_R)]
        if not pieces:
            return ScoredSession(no_scores())
        self._check_tokens([(piece.encoding, piece.options) for piece in pieces])
        n_tokens = max(piece.n_tokens for piece in pieces)
        is_whole = all(self.check.is_whole(piece.n_tokens) for piece in pieces)
        is_only_try = is_whole or is_divided(self._model)  # other processes have not run out of memory
        for n_failed, divisor in enumerate(_SMALLER_CHUNKS[:1] if is_only_try else _SMALLER_CHUNKS):
            try:
                chunk_tokens = max(1, self._chunk_tokens // divisor)
                scores, n_computed = self._score(pieces, chunk_tokens)
                return ScoredSession(scores, n_computed, n_failed)
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                reason = " ".join(str(error).split()) or "out of memory"
            # Only here, where the error no longer holds the tensors of the attempt, is their memory free.
            pieces = [replace(piece, shared=()) for piece in pieces]  # nor is anything kept for neighbours
            clear_device_cache(garbage_collection=True)
        tried = "in one piece, the only exact way" if is_whole else f"even in chunks of {chunk_tokens}"
        raise SessionMemoryError(
            f"memory does not suffice for its {n_tokens:,} tokens, {tried} ({reason[:_REASON_CHARACTERS]}); free "
            "memory, or try --load_in_4bit, --device_map auto or a shorter --max_length"
        )

    def can_be_packed(self, encoding: Encoding, options: ResponseOptions) -> bool:
        """Whether a session may share a pass with others (``score_together``)."""
        is_whole = self.check.is_whole(len(encoding.input_ids_T))
        return bool(self.check.packed and len(encoding.start_R) and not is_whole and not options.long)

    @torch.inference_mode()
    def score_together(self, sessions: Sequence[tuple[Encoding, ResponseOptions]]) -> list[ScoredSession]:
        """Score sessions in one pass: a row without padding, in which positions that start anew tell them apart.

        Each has to be one that ``can_be_packed``. One pass, one product with the LM head and one transfer from the
        device serve all of them. Raises ``SessionError`` and PyTorch's errors where one of them cannot be computed.
        """
        self._check_tokens(sessions)
        targets = [response_positions(encoding) for encoding, _ in sessions]
        lengths = [int(target_N[-1]) for target_N in targets]  # what comes last is predicted, not read
        starts = np.concatenate([[0], np.cumsum(lengths)[:-1]])
        read = [encoding.input_ids_T[:n] for (encoding, _), n in zip(sessions, lengths, strict=True)]
        said = [encoding.input_ids_T[target_N] for (encoding, _), target_N in zip(sessions, targets, strict=True)]
        ids_O, is_option_NO = _union([options for _, options in sessions], [e for e, _ in sessions])
        places = np.concatenate([start + target_N - 1 for start, target_N in zip(starts, targets, strict=True)])
        with HeadRows(self._model.get_output_embeddings()) as rows, rows_of_several():
            rows.positions_N = torch.from_numpy(places)
            position_1T = _row([np.arange(n, dtype=np.int32) for n in lengths]).to(self._device)
            logits_NV = self._logits(_row(read).to(self._device), None, position_ids=position_1T, **self._cuts(lengths))
        statistics = token_statistics(logits_NV, _row(said)[0], ids_O, is_option_NO)
        scored, first = [], 0
        for (encoding, options), target_N, n in zip(sessions, targets, lengths, strict=True):
            own = statistics.part(first, first + len(target_N))
            scored.append(ScoredSession(per_response(encoding, own, options), n))
            first += len(target_N)
        return scored

    def _check_tokens(self, sessions: Sequence[tuple[Encoding, ResponseOptions]]) -> None:
        for encoding, options in sessions:
            long = [branching.tree.tokens for branching in options.long]
            if said := unknown_token(self._n_known, np.concatenate([encoding.input_ids_T, options.ids_O, *long])):
                raise ModelFailureError(said)

    def _cuts(self, lengths: Sequence[int]) -> dict[str, Any]:
        """Where the sessions of a row end, which FlashAttention else asks the GPU for in every layer."""
        if "flash" not in str(self._model.config._attn_implementation) or not accepts(self._model, "kwargs"):
            return {}
        ends = torch.tensor([0, *np.cumsum(lengths).tolist()], dtype=torch.int32).to(self._device)
        longest = max(lengths)
        return {"cu_seq_lens_q": ends, "cu_seq_lens_k": ends, "max_length_q": longest, "max_length_k": longest}

    def _score(self, pieces: Sequence[Piece], chunk_tokens: int) -> tuple[ResponseScores, int]:
        """The scores, and how many tokens went through the model for them."""
        encodings = [piece.encoding for piece in pieces]
        options = [piece.options for piece in pieces]
        targets = [response_positions(encoding) for encoding in encodings]
        said = [encoding.input_ids_T[target_N] for encoding, target_N in zip(encodings, targets, strict=True)]
        target_ids_N = _row(said)[0]
        ids_O, is_option_NO = _union(options, encodings)
        parts: list[TokenStatistics] = []
        n_scored = n_computed = 0
        long = [[] if self.check.is_whole(piece.n_tokens) else self._long(piece.options) for piece in pieces]
        shares = [np.full((len(encoding.start_R), len(TEMPERATURES) + 1), np.nan) for encoding in encodings]
        with HeadRows(self._model.get_output_embeddings(), min(HEAD_ROWS, chunk_tokens)) as rows:
            for number, piece in enumerate(pieces):
                is_last = number == len(pieces) - 1
                for n_new, logits_NV in self._read(piece, rows, chunk_tokens, is_last, long[number], shares[number]):
                    here = slice(n_scored, n_scored + len(logits_NV))
                    parts.append(token_statistics(logits_NV, target_ids_N[here], ids_O, is_option_NO[here]))
                    n_scored, n_computed = n_scored + len(logits_NV), n_computed + n_new
        statistics, first = TokenStatistics(*(np.concatenate(column) for column in zip(*parts, strict=True))), 0
        scores = []
        for number, (encoding, target_N) in enumerate(zip(encodings, targets, strict=True)):
            own = statistics.part(first, first + len(target_N))
            scores.append(per_response(encoding, own, options[number], long[number], shares[number]))
            first += len(target_N)
        columns = zip(*(vars(one).values() for one in scores), strict=True)
        return ResponseScores(*map(np.concatenate, columns)), n_computed

    def _read(
        self,
        piece: Piece,
        rows: HeadRows,
        chunk_tokens: int,
        is_last: bool,
        long: Sequence[Branching],
        share_RC: npt.NDArray[np.float64],
    ) -> Iterator[tuple[int, torch.Tensor]]:
        """Chunk by chunk of a piece: how many tokens went through the model, and (N, V) logits that came of it.

        These are of rows that waited, and of other pieces, too; after the last chunk of the last piece none waits.
        ``share_RC`` is filled in for the options in ``long``.
        """
        ids, shared = piece.encoding.input_ids_T, piece.shared if self.check.prefixes else ()
        positions_N = response_positions(piece.encoding) - 1
        n_inputs = int(positions_N[-1]) + 1
        if self.check.is_whole(piece.n_tokens):
            shared, chunk_tokens = (), piece.n_tokens
        by_length = self.check.is_whole_by_length(piece.n_tokens)
        if by_length:
            n_inputs = piece.n_tokens  # what follows the last response is part of the length
        ids_T = torch.from_numpy(ids[:n_inputs].astype(np.int64)).to(self._device)
        if by_length or self._rope_is_long:
            with rows.off():
                self._logits(ids_T[None, :1], None)  # dynamic frequencies start anew from a short sequence
        self._rope_is_long = by_length
        start, cache = self._resume(ids, shared)
        for first, last in _chunks(start, n_inputs, shared, chunk_tokens):
            here_long = [branching for branching in long if first < branching.start <= last]
            if cache is None and (last < n_inputs or here_long):
                cache = SeenCache(self._model)
            in_chunk_N = (positions_N >= first) & (positions_N < last)
            rows.positions_N = torch.from_numpy(positions_N[in_chunk_N] - first)
            rows.are_last = is_last and last == n_inputs
            yield last - first, self._logits(ids_T[None, first:last], cache)
            if self._passes and cache is not None and here_long:
                with rows.off():
                    shares = self._passes.shares(ids, cache, last, here_long)
                share_RC[[branching.r for branching in here_long]] = shares
            if cache is not None:
                cache.seen.clear()
            if cache is not None and last in shared:
                self._prefixes.append((ids[:last], copy.deepcopy(cache)))

    def _long(self, options: ResponseOptions) -> list[Branching]:
        """The options of several tokens that the model can be asked for."""
        if options.long and not self._passes_are_known:
            self._passes, self._passes_are_known = OptionPasses.of(self._model), True
            self.notes = () if self._passes else (UNKNOWN,)
        return [branching for branching in options.long if self._passes and self._passes.fits(branching)]

    def _logits(self, ids_1T: torch.Tensor, cache: DynamicCache | None, **inputs: Any) -> torch.Tensor:
        """(N, V) logits of the rows that the LM head sees."""
        try:
            return logits_of(self._model, ids_1T, cache, **inputs)[0]
        except UserError:
            raise
        except Exception as error:
            if is_out_of_memory(error):
                raise
            raise ModelFailureError(f"the model's own code fails: {type(error).__name__}: {one_line(error)}") from error

    def _resume(self, ids_T: Ints, shared: Sequence[int]) -> tuple[int, SeenCache | None]:
        """Drop kept prefixes that this session does not share; continue from the longest that it does."""
        self._prefixes = [kept for kept in self._prefixes if len(kept[0]) in shared]
        while self._prefixes:
            prefix, cache = self._prefixes[-1]
            if len(prefix) in shared and np.array_equal(prefix, ids_T[: len(prefix)]):
                return len(prefix), copy.deepcopy(cache)
            self._prefixes.pop()
        return 0, None


def is_out_of_memory(error: Exception) -> bool:
    """Whether memory ran out: that of the device, of PyTorch's allocator on a CPU, or of Python and NumPy."""
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or should_reduce_batch_size(error)


def _chunks(start: int, end: int, shared: Sequence[int], chunk_tokens: int) -> list[tuple[int, int]]:
    """Equal pieces of at most ``chunk_tokens`` between the shared boundaries."""
    chunks = []
    for first, last in pairs([start, *(p for p in shared if p > start), end]):
        n_pieces = -(-(last - first) // chunk_tokens)
        chunks += pairs(np.linspace(first, last, n_pieces + 1).round().astype(int).tolist())
    return chunks


def _row(parts: Sequence[Ints]) -> torch.Tensor:
    """(1, T) numbers of several sessions, one after another."""
    return torch.from_numpy(np.concatenate(parts).astype(np.int64))[None]


def _union(options: Sequence[ResponseOptions], encodings: Sequence[Encoding]) -> tuple[Ints, npt.NDArray[np.bool_]]:
    """The options of all sessions, and which of them are those of each response token."""
    ids_O = np.unique(np.concatenate([own.ids_O for own in options])).astype(np.int32)
    rows = []
    for own, encoding in zip(options, encodings, strict=True):
        is_option_RO = np.zeros((len(encoding.start_R), len(ids_O)), bool)
        is_option_RO[:, np.searchsorted(ids_O, own.ids_O)] = own.is_option_RO
        rows.append(np.repeat(is_option_RO, encoding.end_R - encoding.start_R, axis=0))
    return ids_O, np.concatenate(rows)


def _no_options(encoding: Encoding) -> ResponseOptions:
    n = len(encoding.response_R)
    return ResponseOptions(np.empty(0, np.int32), np.zeros((n, 0), bool), np.zeros(n, np.int32))
