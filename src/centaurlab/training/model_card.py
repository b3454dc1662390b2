"""What an adapter's README says: where it comes from, what it was measured to do, and what it is not for."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from centaurlab.display.markdown import table_lines
from centaurlab.display.tables import Table, rows_of, table_of
from centaurlab.results.record import ModelIdentity
from centaurlab.stats import bootstrap
from centaurlab.stats.estimate import FloatArray
from centaurlab.stats.scale import POSITIVE
from centaurlab.training.data import TrainingData

_RESAMPLES = 2000

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
    return f"""---
base_model: {base.name}
library_name: peft
pipeline_tag: text-generation
tags: [centaurlab, centaur, lora]
---

# A Centaur on {base.name}

A LoRA adapter that predicts what people answer in behavioural experiments, trained with centaurlab on their
responses alone. Text in the form it was trained on: instructions and trials in words, each human response between
`<<` and `>>`.

Base model: `{base.name}`, fingerprint `{base.fingerprint[:16]}`, {base.dtype}, quantisation {base.quantization}.

## Data

`{data.split["data"]}`; studies held out whole: {novel}. Who was trained on and who was held out: `split.json`.

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
