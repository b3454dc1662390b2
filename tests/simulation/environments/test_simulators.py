"""Simulators that call an agent ask a model its questions, and what they draw belongs to each session."""

import random
import re
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from centaurlab.data.options import session_options
from centaurlab.data.transcripts import Transcript
from centaurlab.models.loading import load_model, load_tokenizer
from centaurlab.runtime.errors import UserError
from centaurlab.simulation.environments.simulator import simulator
from centaurlab.simulation.packed import PackedModel
from centaurlab.simulation.player import Person, Player, Settings, Simulated
from centaurlab.simulation.questions import OpenLoop, open_loop
from helpers.tiny_models import in_float32

N_TRIALS = 6


def simulate(agent: Callable[..., str], n: int) -> list[str]:
    """A bandit as its author would write it: the whole session in the prompt, chance from the global generators."""
    sessions = []
    for _ in range(n):
        text = f"Machines J and F, luck {np.random.randint(1_000)}."
        for _ in range(N_TRIALS):
            choice = agent(f"{text} You press <<", ["J", "F"])
            text += f" You press <<{choice}>> and win {int(random.random() < (0.6 if choice == 'J' else 0.3))}."
        word = agent(f"{text} It was <<")
        sessions.append(f"{text} It was <<{word}>>.")
    return sessions


def loop(number: int, of: Callable[..., Any] = simulate) -> OpenLoop:
    told = Transcript("Press <<J>>. Press <<F>>.", "s", "e", str(number))
    return OpenLoop(told, None, session_options(told, {}), "environment", simulator("s", of))


def test_a_model_answers_a_simulator_alike_in_batches_of_any_size(tiny_llama_dir: Path) -> None:
    model, tokenizer = (load(in_float32(tiny_llama_dir)) for load in (load_model, load_tokenizer))
    outer = random.getstate()
    texts = []
    for at_once in (1, 64):
        found: dict[tuple[str, int], str] = {}

        def keep(person: Person, replicate: int, ended: object, found: dict[tuple[str, int], str] = found) -> None:
            assert isinstance(ended, Simulated), ended
            found[person.key.participant, replicate] = ended.text

        people = [Person(one.transcript.key, one, (1, 2)) for one in map(loop, range(2))]
        Player(PackedModel(model), tokenizer, Settings(0, 1.0, 2048, 4), at_once).play(people, keep)
        texts.append(found)
    assert texts[0] == texts[1]
    assert len(set(texts[0].values())) == 4
    assert random.getstate() == outer
    trial = r" You press <<([JF])>> and win ([01])\."
    for text in texts[0].values():
        assert re.fullmatch(rf"Machines J and F, luck \d+\.({trial}){{6}} It was <<.+>>", text, re.DOTALL), text
    outcomes = [pair for text in texts[0].values() for pair in re.findall(trial, text)]
    assert {pair[1] for pair in outcomes} == {"0", "1"}
    for thread in threading.enumerate():
        if "(run)" in thread.name:
            thread.join(5)
            assert not thread.is_alive()


def test_a_simulator_that_does_not_pass_the_whole_session_is_refused() -> None:
    def forgetful(agent: Callable[..., str], n: int) -> None:
        for number in range(3):
            agent(f"Trial {number}. You press <<", ("J", "F"))

    def failing(agent: Callable[..., str], n: int) -> None:
        agent("You press <<", ("J", "F"))
        raise KeyError("payoff")

    for of, said in ((forgetful, "does not go on from what was said before"), (failing, "KeyError: 'payoff'")):
        with pytest.raises(UserError, match=said):
            open_loop(loop(0).transcript, {}, own_environments={"s": simulator("s", of)})
