"""Published simulators asked by a model: all of their experiments side by side, each participant after the one before.

An experiment that was broken off is gone through again with the answers that are kept, which have to lead to the same
sessions.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, fields

import pandas as pd

from centaurlab.data.source import DataArguments
from centaurlab.data.transcripts import SessionKey
from centaurlab.runs.folder import RunFolder
from centaurlab.runtime.disk import disk_errors, replace_durably
from centaurlab.runtime.errors import UserError
from centaurlab.simulation.arguments import SimulateArguments
from centaurlab.simulation.draws import generator_of
from centaurlab.simulation.play import AnswerError, PlayError
from centaurlab.simulation.player import Keep, Person, Player, Simulated
from centaurlab.simulation.questions import OpenLoop
from centaurlab.simulation.simulators import Experiment, Simulator, load_simulators, of_experiment, participants

PARTICIPANTS = 20
_TAKEN = frozenset({"studies", "max_participants"})


@dataclass(frozen=True)
class Design:
    """A simulator and the sessions of its participants, as answered by chance."""

    simulator: Simulator
    sessions: Sequence[OpenLoop]


def designs(asked: SimulateArguments, data: DataArguments) -> list[Design]:
    """The experiments that are asked for; none without ``--simulators``.

    Raises ``UserError`` for a simulator that cannot be used, and for options that speak of people's sessions.
    """
    if not asked.simulators:
        return []
    for one in fields(data):
        if one.name not in _TAKEN and getattr(data, one.name) != one.default:
            raise UserError(f"--simulators ask in the place of people's sessions; leave --{one.name} away")
    found = load_simulators(asked.simulators)
    if data.studies:
        named = {name.strip() for name in data.studies.split(",")}
        if unknown := sorted(named - {one.study for one in found}):
            raise UserError(f"no simulator of {unknown[0]!r}; there are {', '.join(sorted({s.study for s in found}))}")
        found = [one for one in found if one.study in named]
    n = PARTICIPANTS if data.max_participants is None else data.max_participants
    if n < 1:
        raise UserError(f"--max_participants is {n}; it must be at least 1")
    return [Design(one, participants(one, n)) for one in found]


@dataclass(frozen=True)
class Ended:
    """What a simulator returned: the table of its trials, and whole sessions by key."""

    study: str
    experiment: str
    number: int
    table: pd.DataFrame
    texts: dict[SessionKey, str]


@dataclass
class Run:
    """One experiment with a model as all of its participants, the ``number``-th replicate.

    ``kept``: what is known already, by participant.
    """

    design: Design
    number: int
    kept: Sequence[Simulated | None]
    failure: AnswerError | None = None
    experiment: Experiment = field(init=False)

    def begin(self, seed: int) -> None:
        """Go through what is kept. Raises ``UserError`` where the simulator tells another session this time."""
        simulator = self.design.simulator
        key = SessionKey(simulator.study, simulator.experiment, "")
        try:
            generator = generator_of(seed, key, self.number, "environment")
            self.experiment = Experiment(simulator, len(self.kept), generator)
            for k, simulated in enumerate(self.kept):
                if simulated is None:
                    break
                for answer in simulated.answers:
                    if self.experiment.number != k or self.experiment.question is None:
                        raise PlayError("it asks less than it did")
                    self.experiment.answer(answer.text)
                is_over = self.experiment.number != k or self.experiment.question is None
                if not is_over or self.experiment.told[k] != simulated.text:
                    raise PlayError("it tells another session than it did")
        except PlayError as error:
            raise UserError(
                f"{simulator.path}, replicate {self.number}, cannot be continued: {error}; it draws from a generator "
                "that --seed does not set, or has changed: give another --output_dir"
            ) from error

    @property
    def next_session(self) -> OpenLoop | None:
        """Of the participant whose turn it is; None where the experiment has ended."""
        if self.failure or self.experiment.question is None:
            return None
        return of_experiment(self.design.sessions[self.experiment.number], self.experiment)

    @property
    def n_missing(self) -> int:
        """About how many answers are missing."""
        return sum(
            session.n_answers for session, known in zip(self.design.sessions, self.kept, strict=True) if known is None
        )

    @property
    def ended(self) -> Ended | None:
        """What came of it; None where it could not go on to its end."""
        if self.failure or self.experiment.table is None:
            return None
        simulator = self.design.simulator
        keys = [session.transcript.key for session in self.design.sessions]
        texts = dict(zip(keys, self.experiment.texts, strict=True))
        return Ended(simulator.study, simulator.experiment, self.number, self.experiment.table, texts)

    def not_asked(self) -> Iterator[tuple[OpenLoop, AnswerError]]:
        """The sessions that come after one that failed, and why they are not there."""
        if self.failure is not None:
            for session in self.design.sessions[self.experiment.number + 1 :]:
                yield session, self.failure


def play_runs(player: Player, runs: Sequence[Run], keep: Keep) -> None:
    """Simulate what is missing; an experiment ends where a session of it fails or is longer than the window."""
    asked: dict[tuple[SessionKey, int], Run] = {}

    def kept(person: Person, number: int, ended: Simulated | AnswerError) -> None:
        run = asked[person.key, number]
        if isinstance(ended, Simulated) and ended.n_cut:
            ended = AnswerError(
                f"its session is longer than the context window of {player.settings.max_tokens:,} tokens, and so those "
                "of later participants cannot be asked for; use a model with a longer one"
            )
        if isinstance(ended, AnswerError):
            run.failure = ended
            run.experiment.leave()
        keep(person, number, ended)

    while True:
        asked.clear()
        people = []
        for run in runs:
            if session := run.next_session:
                people.append(Person(session.transcript.key, session, (run.number,)))
                asked[session.transcript.key, run.number] = run
        if not people:
            return
        player.play(people, kept)


def write_tables(folder: RunFolder, ended: Sequence[Ended]) -> list[str]:
    """Write what simulators returned as ``experiments/<study>/r<replicate>/<experiment>.csv``; returns their names.

    Those of an earlier call that are none of these are removed.
    """
    written = [f"experiments/{one.study}/r{one.number}/{one.experiment}.csv" for one in ended]
    for name, one in zip(written, ended, strict=True):
        path = folder.path / name
        with disk_errors(folder.path):
            path.parent.mkdir(parents=True, exist_ok=True)
            temporary = path.with_name(f".{path.name}.tmp")
            one.table.to_csv(temporary, index=False)
            replace_durably(temporary, path)
    folder.remove_earlier(written)
    return written
