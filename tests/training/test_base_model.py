"""What cannot be loaded to be trained is refused."""

import pytest

from centaurlab.runtime.errors import UserError
from centaurlab.training.base_model import check_quantised_device


def test_four_bit_on_a_device_without_support() -> None:
    with pytest.raises(UserError, match="do not work on mps"):
        check_quantised_device("mps")
