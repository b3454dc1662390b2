"""Bytes into what the package reads: texts, sessions, people, settings; and the seeds that a fuzzer begins with.

A fuzzer that only flips bytes seldom makes a file that is read to its end. So the first byte of an input says whether
the others are the file as it stands, or choose from the pieces below, each a way in which real files differ.
"""

import gzip
import io
import json
import zipfile
import zlib
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import fields

import pyarrow as pa
import pyarrow.parquet as pq

from centaurlab.data.source import DataArguments
from centaurlab.models.arguments import ModelArguments
from centaurlab.prompts.personas import persona_fields
from centaurlab.runs.tracker import TrackingArguments
from centaurlab.scoring.arguments import ScoreArguments

HALF = "\ud83d"
PIECES = (
    *("<<", ">>", "<", ">", "<<", ">>", "<<-", "->>", "<<skip>>", "More Details >>", " ", "  ", "\n", "\t", "\r\n"),
    *("J", "4", "12.5", "-", "'s", "very good", "très bien", "да", "左右", "ありがとう", "คุณ", "כן", "نعم", "हाँ"),
    *(
        "🙂",
        "👩‍👩‍👧",
        "🇩🇪",
        "e\u0301",
        "a\u0308\u0323",
        "\u202eabc\u202c",
        "\u200f",
        "\u200b",
        "\ufeff",
        "\u00ad",
        "ﬁ",
        "Å",
    ),
    *("<pad>", "<bos>", "<unk>", "<mask>", "<0x0A>", "▁", "Ġ", "##", "\x00", "\x1c", "\u2028", "\u3000", "\U0010fffd"),
)
"""Of texts: markers whole and torn, scripts, and what tokenizers treat apart."""
NAMES = (
    *("a", "b", 1, 1.0, "1", True, None, "", " ", -0.0, 1e300, float("nan"), float("inf"), [1], {}),
    *("../x", "x/y", "C:\\x", "é", HALF, "."),
)
"""Of participants, studies and experiments, as people contribute them."""
VALUES = (
    *(35, 35.0, "35.0", "N/A", "none", " ", None, float("nan"), float("inf"), True, "12.50", "Ph.D.", "<<J>>", "a\nb"),
    *(["a"], {}, "inf", "\u2028", HALF, 10**30),
)
"""Of metadata."""
FIELDS = (
    *(one.name for one in persona_fields()),
    *("Age", "sex", "diagnosis", "STAI", "stai", "land", "unasked"),
)
ARGUMENTS = (ModelArguments, DataArguments, ScoreArguments, TrackingArguments)
OPTIONS = tuple(one.name for kind in ARGUMENTS for one in fields(kind))
SWEEP_KEYS = (
    *("value", "values", "min", "max", "q", "distribution", "name", "goal", "type", "min_iter", "max_iter", "s", "eta"),
    *("method", "run_cap", "command", "program"),
)
SCALARS = (
    *("1", "-1", "1.5", "1e-5", "1.0e-5", "true", "no", "null", "a", "'1'", "[]", "[a, b]", "[1]", "{}", "{a: 1}", "~"),
    *("full", "paper", "float32", "train", "skip", "mlflow wandb", "none", "auto"),
    *(".nan", ".inf", "2001-02-03", "0x10"),
    *("grid", "random", "bayes", "uniform", "q_uniform", "log_uniform_values", "int_uniform", "hyperband", "'a b"),
    *("&a [*a]", "maximize"),
)
"""Of settings, as YAML spells them."""


CHECKPOINT = {
    "model_type": "llama",
    "architectures": ["LlamaForCausalLM"],
    "hidden_size": 32,
    "num_attention_heads": 4,
    "num_hidden_layers": 2,
    "max_position_embeddings": 64,
    "rope_parameters": {"rope_type": "default", "rope_theta": 1e4},
    "vocab_size": 99,
}
ADAPTER = {"peft_type": "LORA", "base_model_name_or_path": "m", "r": 4, "target_modules": ["q_proj"]}
CHECKPOINT_KEYS = (
    *CHECKPOINT,
    *ADAPTER,
    *("auto_map", "quantization_config", "layer_types", "head_dim", "num_labels", "id2label", "text_config", "dtype"),
    *("_attn_implementation", "tie_word_embeddings", "rank_pattern", "alpha_pattern", "modules_to_save", "revision"),
    *("sliding_window", "is_encoder_decoder", "transformers_version", "torch_dtype", "init_lora_weights", "task_type"),
)
CHECKPOINT_VALUES = (
    *(0, 1, -1, 2, 10**8, 10**30, 1.5, float("nan"), float("inf"), True, None, "", "x", "9", "llama", "bert", "LORA"),
    *([], [1], ["x"], {}, {"x": 1}, {"rope_type": "nope"}, {"rope_type": "yarn", "factor": 0}, [[]], {"model_type": 3}),
    *("float16", "../x", "a.b", {"": "x"}, {"quant_method": "gptq"}, {"num_hidden_layers": 10**9}, HALF, "eager"),
)
"""Of configs of models and adapters."""


def checkpoint_of_bytes(data: bytes) -> bytes:
    """A config of a model or adapter with other values, two bytes each; where the first byte is odd, as it stands."""
    if _is_odd(data):
        return data[1:]
    config = dict((CHECKPOINT, ADAPTER)[data[0] // 2 % 2 if data else 0])
    for key, value in _two_by_two(data[1:]):
        config[CHECKPOINT_KEYS[key % len(CHECKPOINT_KEYS)]] = CHECKPOINT_VALUES[value % len(CHECKPOINT_VALUES)]
    return json.dumps(config).encode()


def text_of_bytes(data: bytes) -> str:
    """Text of pieces or, where the first byte is odd, of UTF-8 as it stands."""
    return data[1:].decode("utf-8", "ignore") if _is_odd(data) else _pieces(data[1:])


def lines_of_bytes(data: bytes) -> bytes:
    """JSON lines of sessions or, where the first byte is odd, as they stand."""
    return data[1:] if _is_odd(data) else utf8_lines(*_sessions(data[1:]))


def parquet_of_bytes(data: bytes) -> bytes:
    """A table of sessions, where their values agree in type; else of their texts alone."""
    sessions = _sessions(data)
    try:
        return _parquet(sessions)
    except (pa.ArrowException, UnicodeEncodeError, OverflowError):
        return _parquet([{"text": one["text"], "participant": i} for i, one in enumerate(sessions)])


def zip_of_bytes(data: bytes) -> bytes:
    """An archive of one file of sessions."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("prompts.jsonl", lines_of_bytes(data))
    return out.getvalue()


FILES: tuple[tuple[str, Callable[[bytes], bytes]], ...] = (
    ("prompts.jsonl", lines_of_bytes),
    ("prompts.jsonl", lines_of_bytes),
    ("prompts.jsonl.gz", lambda data: gzip.compress(lines_of_bytes(data), 1)),
    ("prompts.jsonl.zip", zip_of_bytes),
    ("prompts.parquet", parquet_of_bytes),
    ("prompts.jsonl.gz", bytes),
    ("prompts.zip", bytes),
    ("prompts.parquet", bytes),
)
"""How bytes become a file: as sessions in a container, or as the container itself."""


RUN = {
    "job": "score",
    "model": {
        "name": "m",
        "fingerprint": "f",
        "tokenizer_fingerprint": "t",
        "dtype": "float32",
        "quantization": "none",
    },
    "protocol": {"name": "full", "max_tokens": 64},
    "coverage": {"a": dict.fromkeys(("responses", "scored", "cut", "empty", "malformed", "straddling", "failed"), 1)},
    "data": {"name": "d", "fingerprint": "f", "notes": [], "studies": {"a": {"fingerprint": "f", "sessions": 1}}},
}
"""What a run of scores says of itself."""


def run_of_bytes(data: bytes) -> bytes:
    """A record of a run; where the first byte is odd, with values at other places, two bytes each, as in configs."""
    if not _is_odd(data):
        return data[1:]
    record = json.loads(json.dumps(RUN))
    for place, value in _two_by_two(data[1:]):
        inner = record
        path = RUN_PATHS[place % len(RUN_PATHS)]
        for key in path[:-1]:
            inner = inner.get(key) if isinstance(inner, dict) else None
        if isinstance(inner, dict):
            inner[path[-1]] = deepcopy(CHECKPOINT_VALUES[value % len(CHECKPOINT_VALUES)])
    return json.dumps(record).encode()


SCORE_COLUMNS = ("study", "experiment", "participant", "response", "nll", "n_tokens", "n_options", "person", "model")
SCORE_VALUES = (
    *(0.5, 1.25, 0, 1, 2, 3, -0.5, -1, float("nan"), float("inf"), 3.4e38, 1e300, 2**40),
    *(None, True, "", "a", "1", "0,5"),
    *("1.5", 0.25, HALF, b"x", [1], {"x": 1}),
)
"""Of tables of scores, as other programs may write them."""


def scores_of_bytes(data: bytes) -> bytes:
    """A table of three people's responses with other values, a row, a column and a value each; or bytes as they are.

    Where a value does not fit the others of its column all are texts.
    """
    if data[:1] and data[0] % 4 == 3:
        return data[1:]
    rows: list[dict[str, object]] = [
        {"study": "s", "experiment": "e", "participant": f"p{i // 3}", "response": i % 3, "nll": 0.5 + i}
        for i in range(9)
    ]
    for row, column, value in zip(data[1::3], data[2::3], data[3::3], strict=False):
        rows[row % 9][SCORE_COLUMNS[column % len(SCORE_COLUMNS)]] = SCORE_VALUES[value % len(SCORE_VALUES)]
    try:
        return _parquet(rows)
    except (pa.ArrowException, UnicodeEncodeError, OverflowError):
        return _parquet([{name: ascii(value)[:3] for name, value in row.items()} for row in rows])


SIMULATED = {
    "digest": "d", "text": "You press <<J>>.", "answers": [{"text": "J", "p": 0.5, "off_option_nats": 0.1, "n_options":
    2}], "n_cut": 0, "same_tokens": True,
}  # fmt: skip


def simulated_of_bytes(data: bytes) -> bytes:
    """A line of a simulated session, or of other bytes, whose checksum is right."""
    told = dict(SIMULATED)
    names = (*told, "n_tokens", "x")
    for name, value in _two_by_two(data[1:]):
        told[names[name % len(names)]] = CHECKPOINT_VALUES[value % len(CHECKPOINT_VALUES)]
    content = json.dumps(told).encode() if not _is_odd(data) else data[1:]
    return f"{zlib.crc32(content)} ".encode() + content + b"\n"


def _paths(content: dict[str, object], before: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """Where anything stands in a record."""
    found = []
    for key, value in content.items():
        found.append((*before, key))
        if isinstance(value, dict):
            found += _paths(value, (*before, key))
    return found


RUN_PATHS = _paths(RUN)


def people_of_bytes(data: bytes) -> list[dict[str, object]]:
    """Metadata, two bytes for each field and value; a byte of 255 begins the next person."""
    return [
        {FIELDS[name % len(FIELDS)]: VALUES[value % len(VALUES)] for name, value in _two_by_two(one)}
        for one in data.split(b"\xff")[:8]
    ]


def config_of_bytes(data: bytes) -> str:
    """Settings of a scoring run, two bytes for each key and value."""
    return _yaml(data, OPTIONS, {"model_name_or_path": "m", "output_dir": "o"})


def sweep_of_bytes(data: bytes) -> str:
    """A sweep file in four parts, each of which may say something again: the last word is written."""
    uniform = {"distribution": "uniform", "min": "0", "max": "2"}
    top, metric, parameter, early = (data.split(b"\xff", 3) + [b""] * 3)[:4]
    return (
        _yaml(top, SWEEP_KEYS, {"method": "random", "command": "[a]"})
        + f"metric:\n{_yaml(metric, SWEEP_KEYS, {'name': 'm'}, ' ')}"
        + f"parameters:\n b: {{value: 1}}\n a:\n{_yaml(parameter, SWEEP_KEYS, uniform, '  ')}"
        + f"early_terminate:\n{_yaml(early, SWEEP_KEYS, {'type': 'hyperband', 'min_iter': '1'}, ' ')}"
    )


def utf8_lines(*records: dict[str, object]) -> bytes:
    """A line per record, with what UTF-8 cannot say as JSON says it."""
    text = "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records)
    return text.replace(HALF, "\\ud83d").encode()


def _is_odd(data: bytes) -> bool:
    return bool(data) and data[0] % 2 == 1


def _parquet(records: list[dict[str, object]]) -> bytes:
    out = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(records), out)
    return out.getvalue()


def _pieces(data: bytes) -> str:
    return "".join(PIECES[byte % len(PIECES)] for byte in data)


def _sessions(data: bytes) -> list[dict[str, object]]:
    """Each of four bytes that choose names, and as many as there are up to the next 255 for the text."""
    sessions = []
    for chunk in data.split(b"\xff")[:8]:
        names: list[object] = [NAMES[byte % len(NAMES)] for byte in chunk[:3].ljust(3, b"\0")]
        age = VALUES[(chunk[3] if len(chunk) > 3 else 0) % len(VALUES)]
        named = dict(zip(("participant", "study", "experiment"), names, strict=True))
        sessions.append({**named, "age": age, "text": _pieces(chunk[4:])})
    return sessions


def _yaml(data: bytes, keys: Sequence[str], known: Mapping[str, str], indent: str = "") -> str:
    said = {keys[key % len(keys)]: SCALARS[value % len(SCALARS)] for key, value in _two_by_two(data)}
    return "".join(f"{indent}{key}: {value}\n" for key, value in {**known, **said}.items())


def _two_by_two(data: bytes) -> list[tuple[int, int]]:
    return list(zip(data[::2], data[1::2], strict=False))


def _settings_bytes(**values: str) -> bytes:
    """What ``config_of_bytes`` reads as these settings, whatever options there are."""
    return bytes(place for name, value in values.items() for place in (OPTIONS.index(name), SCALARS.index(value)))


_PERSON = {"text": "You see J.\nYou press <<J>>. >> Then <<F>>.", "experiment": "smith2020/exp1.csv", "participant": 1}
_SESSIONS = bytes([0, 1, 0, 0, 15, 0, 15, 1, 255, 1, 1, 0, 1, 0, 16, 1])
_TABLE = b'field,aliases,question,answer,not_missing\nage,Age|sex,"How old, roughly?",I am {:.1f}.,\nland,,Where?,,NA\n'

SEEDS = {
    "reader": (
        b"\x00\x01" + utf8_lines(_PERSON, {**_PERSON, "participant": 2.0, "study": "a", "age": 3}),
        b"\x01\x00" + _SESSIONS,
        b"\x02\x01" + utf8_lines(_PERSON),
        b"\x03\x00" + _SESSIONS,
        b"\x04" + _SESSIONS,
        b"\x05" + gzip.compress(utf8_lines(_PERSON)),
        b"\x06" + zip_of_bytes(b"\x01" + utf8_lines(_PERSON)),
        b"\x07" + parquet_of_bytes(_SESSIONS),
    ),
    "spans": (
        bytes([0, 9, 15, 0, 15, 1, 10, 6, 29, 7]),
        "\x01You press <<J>> and <<-é🙂>>.".encode(),
        b"\x01 <<think>>a<<  b >><<>>",
    ),
    "persona": (
        b"\x01" + _TABLE + b'\x00[{"age": 35.0, "land": "NA"}, {"sex": "12.50", "land": "Chad"}]',
        b'\x01\x00[{"age": "35", "sex": "f", "STAI": 1}, {"PHQ": true}]',
        b"\x00\x00" + bytes([0, 1, 1, 11, 255, 0, 0, 5, 1, 255, 26, 2]),
        b"\x00" + _TABLE + bytes([0, 0, 0, 30, 11, 255, 0, 1]),
    ),
    "checkpoint": (
        bytes(2),
        bytes([2]),
        bytes([0, 3, 3]),
        bytes([2, 10, 3]),
        b"\x01" + json.dumps(CHECKPOINT).encode(),
        b"\x01" + json.dumps(ADAPTER).encode(),
    ),
    "run": (
        b"\x00" + json.dumps(RUN).encode(),
        b"\x01" + bytes(8),
        b"\x01" + bytes([3, 12, 9, 3]),
    ),
    "scores": (bytes(1), bytes([0, 1, 4, 1, 2, 4, 20]), b"\x00" + bytes([1, 2, 16, 4, 5, 2])),
    "simulated": (bytes(1), bytes([0, 1, 17])),
    "yaml": (
        b"\x00model_name_or_path: a\noutput_dir: b\nprotocol: paper\nmax_participants: 3\nreport_to: [mlflow]\n",
        b"\x01",
        b"\x01" + _settings_bytes(protocol="paper", dtype="float32", max_participants="1"),
        b"\x00env:\n  A: 1\nmodel_name_or_path: 'a'\noutput_dir: b\nload_in_4bit: true\nstudies: null\n",
        b"\x02method: grid\nmetric: {name: nll/mean, goal: minimize}\nparameters:\n  rank: {values: [4, 8]}\n"
        b"command: [python, x.py]\nearly_terminate: {type: hyperband, s: 2, eta: 3, max_iter: 27}\nrun_cap: 3\n",
        b"\x03",
        b"\x03" + bytes([13, 29, 14, 0, 255, 7, 38, 255, 2, 0, 3, 2, 255, 8, 35]),
    ),
}
WORDS = {
    "reader": ('"text"', '"study"', '"experiment"', '"participant"', "<<", ">>", "\\ud83d", "null", "NaN", "1e999"),
    "spans": ("<<", ">>", "->>", "<<-", "🙂", "\u0301"),
    "persona": ("field,question\n", "{}", "{:.2f}", "{:9}", "|", "<<", ">>", '"age"', "null", "\\n", "\\u2028", "N/A"),
    "checkpoint": ('"model_type"', '"llama"', '"r"', '"peft_type"', "null", "1e999", "[]", "{}", "NaN"),
    "scores": ("nll", "PAR1", "model"),
    "simulated": ('"answers"', '"digest"', '"of"', "null", "1e999", "[]", "{}"),
    "run": ('"model"', '"coverage"', '"data"', '"studies"', "null", "1e999", "[]", "{}", '"notes"'),
    "yaml": (
        *("model_name_or_path: ", "output_dir: ", "protocol: ", "report_to: ", "load_in_8bit: ", "data_seed: "),
        *("env: ", "!!int ", "!!timestamp ", "!!binary ", "!!set ", "&a ", "*a", "null", "2001-02-30", "0x_", "<<: "),
        *("method: ", "metric: ", "parameters: ", "values: ", "min: ", "max: ", "distribution: ", "early_terminate: "),
    ),
}
"""What a fuzzer may put into an input as a whole."""
