"""``eval/personas.py``, ``eval/templates.py`` and ``eval/diagnosis.py`` as a user runs them, and the reports on them.

In every context the same people and responses, and each context's folder kept apart from the others'.
"""

import json
from pathlib import Path

import pandas as pd
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from centaurlab.reporting import write_report
from centaurlab.results.run import check_same, read_run
from centaurlab.runtime.errors import UserError
from helpers.commands import evaluate
from helpers.json_files import run_json
from helpers.tiny_models import CHAT_TEMPLATE
from helpers.transcripts import write_transcripts

pytestmark = pytest.mark.usefixtures("offline")

KEY = ["study", "experiment", "participant", "response"]


def write_people(path: Path) -> Path:
    """Two studies of five people; the fifth of each has no metadata, and the fourth of the second only an age."""
    rows = []
    for study in ("alpha", "beta"):
        for i in range(5):
            text = f"Study {study}. You press <<{'JF'[i % 2]}>> and win {i}. You press <<{'FJ'[i % 3 == 0]}>>."
            row = {"text": text, "experiment": f"{study}/exp.csv", "participant": i, "age": 20.0 + i, "sex": "N/A"}
            if i < 4 and not (study == "beta" and i == 3):
                row["sex"] = ["male", "female"][i % 2]
            if i == 4:
                row["age"] = None
            rows.append(row)
    return write_transcripts(path, rows)


def on(model: Path, data: Path) -> tuple[object, ...]:
    return ("--model_name_or_path", model, "--data", data, "--dtype", "float32")


def people_of(folder: Path) -> set[tuple[str, str]]:
    (scores,) = folder.glob("*/scores.parquet")
    table = pd.read_parquet(scores)
    return set(zip(table["study"], table["participant"], strict=True))


def nlls(folder: Path) -> pd.Series:
    (scores,) = folder.glob("*/scores.parquet")
    return pd.read_parquet(scores).set_index(KEY)["nll"].astype(float)


def test_personas_are_compared_on_the_same_people_and_responses(tmp_path: Path, tiny_llama_dir: Path) -> None:
    data, out = write_people(tmp_path / "people.jsonl"), tmp_path / "out"
    asked = (*on(tiny_llama_dir, data), "--output_dir", out)
    done = evaluate("personas.py", *asked, "--fields", "each", "--unmatched", "--resamples", 50)
    assert done.returncode == 0, done.stderr
    scores = out / "scores"
    with_metadata = {(study, str(i)) for study in ("alpha", "beta") for i in range(4)}
    assert (
        people_of(scores / "without") == people_of(scores / "with") == people_of(scores / "shuffled") == with_metadata
    )
    assert people_of(scores / "field-age") == with_metadata
    assert people_of(scores / "field-gender") == with_metadata - {("beta", "3")}
    assert people_of(scores / "everybody") == with_metadata | {("alpha", "4"), ("beta", "4")}

    table = pd.read_csv(out / "personas.csv").set_index(["comparison", "level", "name"])
    without, own, gender, everybody = (nlls(scores / name) for name in ("without", "with", "field-gender", "everybody"))
    for study in ("alpha", "beta"):
        row = table.loc[("persona", "study", study)]
        a, b = without[study], own[study]
        assert row["d"] == pytest.approx((a.mean() - b.mean()) / ((a.var() + b.var()) / 2) ** 0.5, abs=1e-5)
        assert (row["n_responses"], row["n_participants"]) == (8, 4)
        assert (row["nll_first"], row["nll_second"]) == pytest.approx((a.mean(), b.mean()), abs=1e-6)
        row = table.loc[("field gender", "study", study)]
        a, b = without.loc[gender.index][study], gender[study]
        assert row["d"] == pytest.approx((a.mean() - b.mean()) / ((a.var() + b.var()) / 2) ** 0.5, abs=1e-5)
        assert row["unmatched_first"] == row["unmatched_second"] == 0
        row = table.loc[(f"unmatched {tiny_llama_dir}", "study", study)]
        a, b = everybody[study], own[study]
        assert row["d"] == pytest.approx((a.mean() - b.mean()) / ((a.var() + b.var()) / 2) ** 0.5, abs=1e-5)
        assert row["d_low"] <= row["d"] <= row["d_high"]
    overall = table.loc[("persona", "overall", "all studies")]
    assert overall["d"] == pytest.approx(table.loc["persona"].loc["study"]["d"].mean())

    about = run_json(out)
    assert about["personas"]["fields"] == {"age": 8, "gender": 7}
    assert about["personas"]["kept_their_own"] == []
    assert about["overall"]["persona"]["d"]["value"] == pytest.approx(overall["d"])
    printed = done.stdout
    assert about["overall"]["own_or_anothers"]["verdict"] in printed
    assert "no − gender-only" in printed
    assert {path.stem for path in (out / "figures").glob("*.pdf")} == {"personas", "studies", "comparisons"}
    (section,) = write_report([out], tmp_path / "report.html", "html")
    verdicts = [about["overall"][name]["verdict"] for name in ("persona", "own_or_anothers")]
    assert [answer.lower() for answer in section.answers] == [f"{verdict}.".lower() for verdict in verdicts]
    assert [table.title for table in section.tables[:2]] == ["Over all studies", "Studies: d(no persona − own persona)"]
    assert [row[0].text for row in section.tables[1].rows] == ["alpha", "beta"]
    assert float(section.tables[1].summary[0][1].key or "nan") == pytest.approx(overall["d"])
    assert len(section.figures) == 3


def test_those_whose_other_persona_is_their_own_are_left_out_of_a_comparison(
    tmp_path: Path, tiny_llama_dir: Path
) -> None:
    """Three of four have the same age: two of these get it back, and the other two another's that is not theirs."""
    text = "You press <<J>> and win {i}. You press <<F>>."
    rows = [
        {"text": text.replace("{i}", str(i)), "study": study, "experiment": "e", "participant": i, "age": age}
        for study in ("alpha", "beta")
        for i, age in enumerate((20, 20, 20, 31))
    ]
    data, out = write_transcripts(tmp_path / "people.jsonl", rows), tmp_path / "out"
    done = evaluate("personas.py", *on(tiny_llama_dir, data), "--output_dir", out, "--resamples", 50)
    assert done.returncode == 0, done.stderr
    kept = [name.rpartition("/")[2] for name in run_json(out)["personas"]["kept_their_own"]]
    assert len(kept) == 4
    table = pd.read_csv(out / "personas.csv").set_index(["comparison", "level", "name"])
    own, others = nlls(out / "scores" / "with"), nlls(out / "scores" / "shuffled")
    for study in ("alpha", "beta"):
        row = table.loc[("own_or_unlike", "study", study)]
        a, b = others[study], own[study]
        changed = a[(a - b).abs().groupby(level=1).transform("max") > 0].index
        assert row["n_participants"] == len({participant for _, participant, _ in changed}) == 2
        a, b = a.loc[changed], b.loc[changed]
        assert row["d"] == pytest.approx((a.mean() - b.mean()) / ((a.var() + b.var()) / 2) ** 0.5, abs=1e-5)
    assert "another's unlike persona" in done.stdout
    (section,) = write_report([out], tmp_path / "report.html", "html")
    assert len(section.answers) == 3


def test_a_persona_folder_and_a_plain_one_are_kept_apart(tmp_path: Path, tiny_llama_dir: Path) -> None:
    data, out = write_people(tmp_path / "people.jsonl"), tmp_path / "out"
    asked = on(tiny_llama_dir, data)
    done = evaluate("personas.py", *asked, "--output_dir", out, "--resamples", 5)
    assert done.returncode == 0, done.stderr
    (own,) = (out / "scores" / "with").iterdir()
    (without,) = (out / "scores" / "without").iterdir()
    assert "context {'" in evaluate("score.py", *asked, "--output_dir", own).error
    done = evaluate("score.py", *asked, "--output_dir", without)
    assert done.returncode == 0, done.stderr
    without.rename(out / "scores" / "with" / "other")
    (out / "scores" / "with" / own.name).rename(out / "kept")
    (out / "scores" / "with" / "other").rename(out / "scores" / "with" / own.name)
    assert (
        "holds scores with context None, not {'"
        in evaluate("personas.py", *asked, "--output_dir", out, "--resamples", 5).error
    )


def test_a_persona_does_not_change_which_sessions_were_scored(tmp_path: Path, tiny_llama_dir: Path) -> None:
    data, out = write_people(tmp_path / "people.jsonl"), tmp_path / "out"
    asked = (*on(tiny_llama_dir, data), "--output_dir", out, "--max_participants", 3)
    done = evaluate("personas.py", *asked, "--resamples", 5)
    assert done.returncode == 0, done.stderr
    without, own = (read_run(next((out / "scores" / name).iterdir())) for name in ("without", "with"))
    assert without.about["data"]["studies"].keys() == {"alpha", "beta"}
    for study, about in without.about["data"]["studies"].items():
        assert about["sessions"] == 3
        assert about["fingerprint"] == own.about["data"]["studies"][study]["fingerprint"]
    check_same([without, own], same_context=False)
    with pytest.raises(UserError, match="score both alike"):
        check_same([without, own])


def test_data_without_metadata_are_refused(tmp_path: Path, tiny_llama_dir: Path) -> None:
    data = tmp_path / "people.jsonl"
    data.write_text('{"text": "You press <<J>>.", "experiment": "a/b", "participant": 1, "age": "N/A", "cond": 1}\n')
    asked = (*on(tiny_llama_dir, data), "--output_dir", tmp_path / "out")
    assert "no participant has metadata of the persona table (age, gender, " in evaluate("personas.py", *asked).error
    write_people(data)
    assert (
        "--fields 'IUS': nobody in the data answers it; there are age, gender"
        in evaluate("personas.py", *asked, "--fields", "IUS").error
    )
    assert not (tmp_path / "out").exists()


def nll_of_reply(folder: Path, messages: list[dict[str, str]], reply: str) -> float:
    """By the library's own functions: the whole conversation, then the reply, in one forward pass."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    before = tokenizer.apply_chat_template(messages, add_generation_prompt=True)["input_ids"]
    ids = tokenizer(reply, add_special_tokens=False)["input_ids"]
    with torch.no_grad():
        log_p_TV = model(torch.tensor([before + ids])).logits[0].log_softmax(-1)
    return -sum(float(log_p_TV[len(before) - 1 + i, token]) for i, token in enumerate(ids))


def test_a_template_is_compared_with_plain_text_response_by_response(tmp_path: Path, chat_model: Path) -> None:
    data, out = write_people(tmp_path / "people.jsonl"), tmp_path / "out"
    done = evaluate("templates.py", *on(chat_model, data), "--output_dir", out, "--resamples", 50)
    assert done.returncode == 0, done.stderr
    plain, template = nlls(out / "scores" / "plain"), nlls(out / "scores" / "template")
    assert len(plain) == len(template) == 20
    person = ("alpha", "alpha/exp.csv", "2")
    messages = [{"role": "user", "content": "Study alpha. You press "}]
    assert template[(*person, 0)] == pytest.approx(nll_of_reply(chat_model, messages, "J"), abs=1e-4)
    messages += [{"role": "assistant", "content": "J"}, {"role": "user", "content": " and win 2. You press "}]
    assert template[(*person, 1)] == pytest.approx(nll_of_reply(chat_model, messages, "F"), abs=1e-4)

    table = pd.read_csv(out / "templates.csv").set_index(["level", "name"])
    for study in ("alpha", "beta"):
        a, b = template[study], plain[study]
        d = (a.mean() - b.mean()) / ((a.var() + b.var()) / 2) ** 0.5
        assert table.loc[("study", study), "d"] == pytest.approx(d, abs=1e-5)
    about = run_json(out)
    assert about["overall"]["template"]["verdict"] in done.stdout
    assert about["models"][0]["context"]["date"] == "2024-07-26"
    assert {path.stem for path in (out / "figures").glob("*.png")} == {"templates", "studies"}
    (section,) = write_report([out], tmp_path / "report.html", "html")
    assert section.answers[0].lower() == f"{about['overall']['template']['verdict']}.".lower()
    assert [row[0].text for row in section.tables[1].rows] == ["alpha", "beta"]


def test_the_audit_is_written_beside(tmp_path: Path, chat_model: Path) -> None:
    trimming = CHAT_TEMPLATE.replace("message['content'] +", "message['content'] | trim +")
    (chat_model / "chat_template.jinja").write_text("You are a helpful assistant.\n" + trimming)
    data, out = write_people(tmp_path / "people.jsonl"), tmp_path / "out"
    done = evaluate("templates.py", *on(chat_model, data), "--output_dir", out, "--resamples", 5)
    assert done.returncode == 0, done.stderr
    found = pd.read_csv(out / "audit.csv", keep_default_na=False).set_index(["study", "kind"])
    assert found.loc[("alpha", "user trimmed"), "n"] == 10
    assert found.loc[("alpha", "user trimmed"), "of"] == 15
    assert "helpful assistant" in found.loc[("", "system prompt inserted"), "example"]
    assert ("alpha", "response trimmed") not in found.index
    (section,) = write_report([out], tmp_path / "report.html", "html")
    (audit,) = (table for table in section.tables if table.title.startswith("What the template does"))
    shown = {(row[1].text, row[2].text): (row[3].text, row[4].text) for row in audit.rows}
    assert shown["alpha", "user trimmed"] == ("10", "15")
    assert ("every session", "system prompt inserted") in shown


def test_a_folder_of_template_scores_is_not_one_of_plain_scores(tmp_path: Path, chat_model: Path) -> None:
    data, out = write_people(tmp_path / "people.jsonl"), tmp_path / "out"
    done = evaluate("templates.py", *on(chat_model, data), "--output_dir", out, "--resamples", 5)
    assert done.returncode == 0, done.stderr
    (folder,) = (out / "scores" / "template").iterdir()
    assert (
        "holds scores with context {'chat_template'"
        in evaluate("score.py", *on(chat_model, data), "--output_dir", folder).error
    )
    (plain,) = (out / "scores" / "plain").iterdir()
    assert (
        "score both alike"
        in evaluate("misalignment.py", "--base", plain, "--post", folder, "--output_dir", tmp_path / "effect").error
    )


def test_a_model_without_a_template_is_refused(tmp_path: Path, tiny_llama_dir: Path) -> None:
    data, out = write_people(tmp_path / "people.jsonl"), tmp_path / "out"
    assert "has no chat template" in evaluate("templates.py", *on(tiny_llama_dir, data), "--output_dir", out).error
    assert not out.exists()


def test_a_diagnosis_sums_to_the_difference_and_is_reported(
    tmp_path: Path, tiny_llama_dir: Path, tiny_gemma_dir: Path
) -> None:
    data, out = write_people(tmp_path / "people.jsonl"), tmp_path / "out"
    with data.open("a") as file:  # free text, which is no choice among options
        for i in range(3):
            text = f"You say <<word {i} of many>>. You say <<another>>."
            file.write(json.dumps({"text": text, "experiment": "free/exp.csv", "participant": i}) + "\n")
    asked = ("--base", tiny_llama_dir, "--post", tiny_gemma_dir, "--data", data, "--dtype", "float32")
    done = evaluate("diagnosis.py", *asked, "--output_dir", out, "--resamples", 50)
    assert done.returncode == 0, done.stderr
    table = pd.read_csv(out / "diagnosis.csv").set_index("study")
    base, post = (
        pd.read_parquet(next(out.glob(f"scores/*{name.name}*/scores.parquet"))).astype({"nll": float})
        for name in (tiny_llama_dir, tiny_gemma_dir)
    )
    assert base["n_options"].gt(0).groupby(base["study"].astype(str)).any().to_dict() == {
        "alpha": True,
        "beta": True,
        "free": False,
    }
    for study in ("alpha", "beta"):
        choices = base["n_options"].gt(0) & (base["study"] == study)
        difference = post["nll"][choices].mean() - base["nll"][choices].mean()
        assert table.loc[study, "difference"] == pytest.approx(difference, abs=1e-6)
        parts = table.loc[study, ["calibration", "format", "preference"]]
        assert parts.sum() == pytest.approx(difference, abs=1e-6)
    assert pd.read_csv(out / "excluded.csv").set_index("study").loc["free"].tolist() == [6, 6, 3, 3]
    said = run_json(out)["verdict"]
    assert (out / "figures" / "parts.pdf").exists()
    (section,) = write_report([out], tmp_path / "report.html", "html")
    short = said.replace(str(tiny_llama_dir), tiny_llama_dir.name).replace(str(tiny_gemma_dir), tiny_gemma_dir.name)
    assert short in done.stdout
    assert section.answers[0].lower() == f"{short}.".lower()
    assert [row[0].text for row in section.tables[0].rows] == ["alpha", "beta"]
    assert "diagnosis.py" in section.commands[-1]
