"""Options from a notebook mean what they mean on the command line, whatever type they have."""

from typing import Any

import numpy as np
import pytest

import centaurlab as cl

ROWS = [{"study": s, "experiment": "e", "participant": f"p{n}", "text": "<<J>>"} for s in "abc" for n in range(9)]


@pytest.mark.parametrize("seed", [1, np.int64(1), "1"])
def test_an_option_means_the_same_whatever_type_it_has(seed: Any) -> None:
    usual = cl.load(ROWS, studies="a,b", data_seed=1, max_participants=2)
    other = cl.load(ROWS, studies=["a", "b"], data_seed=seed, max_participants=np.array(2))
    assert [t.key for t in other] == [t.key for t in usual]
    assert len(list(usual)) == 4


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: cl.load(ROWS, data_seed=1.0), "options: data_seed is 1.0, not int"),
        (lambda: cl.load(ROWS, max_participants="two"), "max_participants.*: invalid int value: 'two'"),
        (lambda: cl.simulate("any", ROWS, replicates=2.5), "options: replicates is 2.5, not int"),
    ],
)
def test_a_value_of_another_type_is_a_sentence(call: Any, message: str) -> None:
    with pytest.raises(cl.UserError, match=message):
        call()
