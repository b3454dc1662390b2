"""The contract between scoring and statistics: the table with one row per response, its writer and its only reader.

Whatever gives one NLL per response (a language model, a cognitive model, somebody else's engine) writes
``scores.parquet`` with ``SCORE_SCHEMA``; everything that compares, draws or reports reads it here, so that a damaged
table is told in one way, and an NLL that is no number is averaged nowhere.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from centaurlab.data.transcripts import SessionKey
from centaurlab.results.consistency import Consistency, Meaning
from centaurlab.runs.integrity import FILES, RECORD, check_file, damaged, read_json
from centaurlab.runtime.disk import disk_errors, replace_durably
from centaurlab.runtime.errors import UserError, one_line

if TYPE_CHECKING:
    import pandas as pd

# T: tokens of a session, R: its scored responses, N: their tokens, V: vocabulary, K: temperatures, O: options.
Ints = npt.NDArray[np.int32]
Floats = npt.NDArray[np.float32]

SCORES = "scores.parquet"
"""The file's name in a run's folder."""

MODEL_COLUMNS = ("model", "model_name")
"""In which tables of other programs say whose NLLs theirs are; ours are of one model and have neither."""

TEMPERATURES = tuple(2 ** (step / 4) for step in range(-4, 9) if step)
"""Beside 1, from 0.5 to 4: the grid on which the NLL of each response is recorded."""

STUDY, EXPERIMENT, PARTICIPANT, RESPONSE = "study", "experiment", "participant", "response"
SESSION = (STUDY, EXPERIMENT, PARTICIPANT)
"""The columns that name a session, as ``SessionKey`` does; with ``RESPONSE`` they name a row."""

PERSON = "person"
"""Whose session it is, where the study has several of the person; null where it is the person's only one.

A table in which every person has one session in a study has no such column. Sessions of one person are drawn together.
"""

NLL, N_TOKENS, GREEDY_CORRECT, ENTROPY = "nll", "n_tokens", "greedy_correct", "entropy"
N_OPTIONS, OPTION_NLL, ITEM = "n_options", "option_nll", "item"


def at_temperature(column: str, temperature: float) -> str:
    """The name of the column that holds ``NLL`` or ``OPTION_NLL`` at one of ``TEMPERATURES``."""
    return f"{column}_t{temperature:.2f}"


SCORE_SCHEMA = pa.schema(
    [
        *((name, pa.dictionary(pa.int32(), pa.string())) for name in SESSION),
        (RESPONSE, pa.int32()),
        (N_TOKENS, pa.int32()),
        (NLL, pa.float32()),
        (GREEDY_CORRECT, pa.bool_()),
        (ENTROPY, pa.float32()),
        *((at_temperature(NLL, t), pa.float32()) for t in TEMPERATURES),
        (N_OPTIONS, pa.int32()),
        (OPTION_NLL, pa.float32()),
        *((at_temperature(OPTION_NLL, t), pa.float32()) for t in TEMPERATURES),
        (ITEM, pa.int64()),
    ]
)
"""One row per response; NLLs and entropy in nats, NLLs summed over the response's tokens.

``response`` counts all responses of the session from 0, scored or not. ``greedy_correct`` is null for responses of
several tokens; ``entropy`` and NLLs at other temperatures are, where an engine does not say them. ``n_options``, how
many answers there were to choose from, is null where that is not known; ``option_nll``, -log of the probability of all
options together (``ResponseScores``), where they have none. ``item``: a number for what was asked, the same for
everybody who was asked it; null where nothing recurs.
"""

MEASURES = tuple(name for name in SCORE_SCHEMA.names if name not in (*SESSION, RESPONSE, ITEM))
"""The columns beside those that name the response, and the item, which older tables lack."""

_MEANING = Meaning(
    *(SESSION, RESPONSE, NLL, N_TOKENS, GREEDY_CORRECT, ENTROPY, OPTION_NLL),
    nll_at={t: at_temperature(NLL, t) for t in TEMPERATURES},
)


@dataclass(frozen=True)
class ResponseScores:
    """Scores of one session of R responses. NLLs and entropy are in nats, arrays as the shape suffixes say.

    ``response_R``: number of each among all responses of the session, from 0. ``nll_R`` sums over a response's
    ``n_tokens_R`` tokens; ``nll_RK`` is the same at each of ``TEMPERATURES``. ``entropy_R`` is that of the next-token
    distribution at the response's first token. ``greedy_correct_R``: 1 or 0 whether the likeliest token was given, -1
    for responses of several tokens. ``n_options_R``: how many options there were, 0 where that is not known.
    ``option_nll_R`` and ``option_nll_RK``: negative log of the probability of all options together at temperature 1 and
    at each of ``TEMPERATURES``, NaN where that is not known: the response's own NLL less -log of its share among the
    options, so that it is never above it. Where the tokens of one option begin another's, the share includes the first
    token of the marker that closes the answer, which NLLs do not: there it is less by -log of that token's probability
    after the answer, and may be below 0.
    ``item_R``: a number for what was asked, 0 where nothing recurs.
    """

    response_R: Ints
    n_tokens_R: Ints
    nll_R: Floats
    greedy_correct_R: npt.NDArray[np.int8]
    entropy_R: Floats
    nll_RK: Floats
    n_options_R: Ints
    option_nll_R: Floats
    option_nll_RK: Floats
    item_R: npt.NDArray[np.int64]


_PERSON_FIELD = pa.field(PERSON, pa.dictionary(pa.int32(), pa.string()))
_ROW_GROUP_ROWS, _ROW_GROUP_SESSIONS = 100_000, 2_000  # held in memory until they are written
_READ_ROWS = 1 << 20
_NO_ROUNDING = -1e-3  # what is certain may have an NLL a little below zero, or a log-probability above
_MOST_NATS = 1e7  # of a response; a masked logit of float32 gives 3e38, which is finite
_REMEDY = "delete it and give its 'centaurlab score' command again"


def write_scores(
    folder: Path,
    sessions: Iterable[tuple[SessionKey, ResponseScores]],
    person_of: Callable[[SessionKey], str | None] | None = None,
) -> None:
    """Write ``scores.parquet`` into a run's folder, whole or not at all.

    Parameters
    ----------
    folder
        Where the table goes; one that is there already is replaced.
    sessions
        Sessions with their scores, read as a stream. Their order is that of the rows, and equal input gives equal
        bytes.
    person_of
        Gives the name of a session's person, or None for somebody who has one session in the study; None: so has
        everybody.

    Raises
    ------
    UserError
        Where the disk is full or cannot be written; the table that was there stays.
    """
    temporary = (folder / SCORES).with_suffix(".tmp")
    with disk_errors(folder):
        schema = SCORE_SCHEMA.append(_PERSON_FIELD) if person_of else SCORE_SCHEMA
        with pq.ParquetWriter(temporary, schema, write_page_checksum=True) as writer:
            group: list[tuple[SessionKey, ResponseScores]] = []
            n_rows = 0
            for key, scores in sessions:
                group.append((key, scores))
                n_rows += len(scores.response_R)
                if n_rows >= _ROW_GROUP_ROWS or len(group) >= _ROW_GROUP_SESSIONS:
                    writer.write_batch(_record_batch(group, person_of))
                    group, n_rows = [], 0
            if group:
                writer.write_batch(_record_batch(group, person_of))
        replace_durably(temporary, folder / SCORES)


def read_scores(folder: Path, columns: Sequence[str] = MEASURES, if_there: Sequence[str] = ()) -> pa.Table:
    """Read a run's table of scores.

    Parameters
    ----------
    folder
        The run's folder, which holds ``scores.parquet``.
    columns
        Names of ``SCORE_SCHEMA`` to read beside the session's key and the response's number; default: all.
    if_there
        More of them, which are null where the table lacks them, as one of another program may.

    Returns
    -------
    pyarrow.Table
        A row per response with the columns ``SESSION``, ``RESPONSE`` and ``columns``, of the types of
        ``SCORE_SCHEMA``: NLLs in nats, all of them finite where ``NLL`` is among the columns; and ``PERSON`` where the
        table has it.

    Raises
    ------
    UserError
        Where the table is damaged or lacks a column, holds what is no NLL or rows of several models.
    """
    batches = list(read_batches(folder, columns, if_there))
    table = pa.Table.from_batches(batches, batches[0].schema if batches else _schema(columns)).unify_dictionaries()
    for name in if_there:
        if name not in table.column_names:
            field = SCORE_SCHEMA.field(name)
            table = table.append_column(field, pa.nulls(len(table), field.type))
    return table


def read_batches(
    folder: Path, columns: Sequence[str] = MEASURES, if_there: Sequence[str] = ()
) -> Iterator[pa.RecordBatch]:
    """Read a run's table piece by piece, never all in memory; parameters and errors are those of ``read_scores``.

    ``if_there``: more columns, of which some may be missing.
    """
    path = folder / SCORES
    check_file(path, _REMEDY)
    consistency = _unproven(folder)
    try:
        has_person = PERSON in pq.read_schema(path).names
        dictionaries = [*SESSION, *([PERSON] if has_person else [])]
        with pq.ParquetFile(path, read_dictionary=dictionaries, page_checksum_verification=True) as file:
            schema = _schema([*columns, *(name for name in if_there if name in file.schema_arrow.names)])
            schema = schema.append(_PERSON_FIELD) if has_person else schema
            lacking = [name for name in schema.names if name not in file.schema_arrow.names]
            if lacking:
                raise UserError(
                    f"{path} has no column {lacking[0]!r}: it was written by an older version or another program; "
                    "score again into another folder"
                )
            for name in (one for one in MODEL_COLUMNS if one in file.schema_arrow.names):
                models = file.read(columns=[name]).column(0).unique().to_pylist()
                if len(models) > 1:
                    raise UserError(
                        f"{path} holds rows of several models ({models[0]}, {models[1]}); write a table each"
                    )
            also = [name for name in _MEANING.names() if consistency and name in file.schema_arrow.names]
            for batch in file.iter_batches(_READ_ROWS, columns=[*dict.fromkeys([*schema.names, *also])]):
                if consistency:
                    consistency.add(batch.select(also))
                batch = _of_types(path, batch, schema)
                check_rows(str(folder), batch)
                yield batch
            if consistency:
                consistency.check()
    except (pa.ArrowException, OSError, ValueError, KeyError, MemoryError) as error:
        raise damaged(path, one_line(error), _REMEDY) from error


def _unproven(folder: Path) -> Consistency | None:
    """What a table that no digest proves is held against, if its run's record tells of it; None: nothing."""
    record = read_json(folder / RECORD)
    files = record.get(FILES)
    if isinstance(files, dict) and SCORES in files:
        return None
    consistency = Consistency(_MEANING, record)
    return consistency if consistency.knows_means else None


def by_person(table: pa.Table) -> pa.Table:
    """The table with the columns ``SESSION`` equal in all sessions of a person, so that who groups by these has people.

    Responses are then no longer told apart.
    """
    if PERSON not in table.column_names:
        return table
    person = table.column(PERSON).cast(pa.string())
    is_joined = pc.is_valid(person)
    for column, value in ((EXPERIMENT, pa.scalar("\0")), (PARTICIPANT, person)):
        kept = pc.if_else(is_joined, value, table.column(column).cast(pa.string()))
        table = table.set_column(table.column_names.index(column), column, kept.dictionary_encode())
    return table


def person_names(frame: "pd.DataFrame") -> "pd.Series":
    """Whose each row of a data frame is, within its study; the columns ``SESSION`` are strings."""
    session = frame[EXPERIMENT].where(frame[EXPERIMENT] != "", "\1") + "\0" + frame[PARTICIPANT]
    if PERSON in frame:
        person = frame[PERSON].astype(object)
        session = session.where(person.isna(), "\0" + person.astype(str))
    return session.rename(PERSON)


def _schema(columns: Sequence[str]) -> pa.Schema:
    return pa.schema([SCORE_SCHEMA.field(name) for name in (*SESSION, RESPONSE, *columns)])


def _of_types(path: Path, batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    """The columns of the schema in its types; whole numbers that are names are written out."""
    columns = []
    for field in schema:
        column = batch.column(field.name)
        is_name = pa.types.is_dictionary(field.type)
        if is_name and pa.types.is_integer(column.type):
            column = column.cast(pa.string())
        elif (is_name and pa.types.is_floating(column.type)) or (field.name == NLL and column.type == pa.bool_()):
            asked = "names are texts" if is_name else "NLLs are numbers, in nats"
            raise UserError(f"{path}: its column {field.name!r} holds {column.type}; {asked}")
        if is_name and pa.types.is_string(column.type):
            column = column.dictionary_encode()
        columns.append(column.cast(field.type))
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def check_rows(what: str, rows: pa.RecordBatch | pa.Table) -> None:
    """Refuse a row without a name or number, and what no NLL is: not finite, below zero, or of no probability.

    ``what`` holds the rows, whose columns have the types of ``SCORE_SCHEMA``; ``UserError`` names the first of them.
    """
    for name in (*SESSION, RESPONSE):
        if rows.column(name).null_count:
            raise UserError(f"{what}: a row has no {name}; every row names study, experiment, participant and response")
    if len(rows) and pc.min(rows.column(RESPONSE)).as_py() < 0:
        raise UserError(f"{what}: a response has a number below zero; number those of a session from 0")
    if NLL not in rows.schema.names or not len(rows):
        return
    nll_R = np.asarray(rows.column(NLL).to_numpy(zero_copy_only=False))
    if nll_R.max() < -_NO_ROUNDING and nll_R.min() < _NO_ROUNDING:
        raise UserError(
            f"{what}: no NLL is above zero, down to {nll_R.min():.3g}; these are log-probabilities, write them with "
            "the other sign"
        )
    is_bad_R = ~((nll_R >= _NO_ROUNDING) & (nll_R < _MOST_NATS))
    if is_bad_R.any():
        (row,) = rows.slice(int(np.argmax(is_bad_R)), 1).to_pylist()
        nll = row[NLL]
        why = "score again, with --dtype float32 where the model overflows"
        if nll is not None and nll < _NO_ROUNDING and np.isfinite(nll):
            why = "an NLL is -log of a probability, never below zero; write log-probabilities with the other sign"
        raise UserError(
            f"{what}: the NLL of response {row[RESPONSE]} of {SessionKey(*(row[name] for name in SESSION))} is {nll}; "
            f"{why}"
        )


def _record_batch(
    group: Sequence[tuple[SessionKey, ResponseScores]], person_of: Callable[[SessionKey], str | None] | None
) -> pa.RecordBatch:
    n_S = [len(scores.response_R) for _, scores in group]
    scores = ResponseScores(
        *(np.concatenate(column) for column in zip(*(vars(scores).values() for _, scores in group), strict=True))
    )
    no_options_R = scores.n_options_R == 0
    numbers = [
        pa.array(scores.response_R),
        pa.array(scores.n_tokens_R),
        pa.array(scores.nll_R),
        pa.array(scores.greedy_correct_R == 1, mask=scores.greedy_correct_R < 0),
        pa.array(scores.entropy_R, mask=np.isnan(scores.entropy_R)),
        *(pa.array(column, mask=np.isnan(column)) for column in np.ascontiguousarray(scores.nll_RK.T)),
        pa.array(scores.n_options_R, mask=no_options_R),
        pa.array(scores.option_nll_R, mask=np.isnan(scores.option_nll_R)),
        *(pa.array(column, mask=np.isnan(column)) for column in np.ascontiguousarray(scores.option_nll_RK.T)),
        pa.array(scores.item_R, mask=scores.item_R == 0),
    ]
    names = [_repeated(names_S, n_S) for names_S in zip(*(astuple(key) for key, _ in group), strict=True)]
    batch = pa.RecordBatch.from_arrays([*names, *numbers], schema=SCORE_SCHEMA)
    if person_of:
        batch = batch.append_column(_PERSON_FIELD, _repeated([person_of(key) for key, _ in group], n_S))
    return batch


def _repeated(names_S: Sequence[str | None], n_S: Sequence[int]) -> pa.DictionaryArray:
    """The name of each session, as often as it has responses; null for None."""
    codes = {name: code for code, name in enumerate(name for name in dict.fromkeys(names_S) if name is not None)}
    code_R = np.repeat(np.array([-1 if name is None else codes[name] for name in names_S], np.int32), n_S)
    return pa.DictionaryArray.from_arrays(pa.array(code_R, mask=code_R < 0), pa.array(list(codes), pa.string()))
