"""From a study's name to its environment: one of ours, or one of a file of the user's own."""

from collections.abc import Mapping
from pathlib import Path

from centaurlab.runtime.own_file import load_own
from centaurlab.simulation.environments import alsobay2025, hbayesdm2017, sandbrink2024, schiekiera2025, shahar2019
from centaurlab.simulation.environments.environment import Environment

_MODULES = (alsobay2025, hbayesdm2017, sandbrink2024, schiekiera2025, shahar2019)
ENVIRONMENTS: Mapping[str, Environment] = {one.study: one for module in _MODULES for one in module.ENVIRONMENTS}


def load_environments(path: Path) -> Mapping[str, Environment]:
    """The environments of a user's own file, by study. The file is Python and is run: use your own only.

    It defines ``ENVIRONMENTS``, a tuple of ``Environment``. Raises ``UserError`` for a file that cannot be read or run,
    or that defines something else.
    """
    return {one.study: one for one in load_own(path, "ENVIRONMENTS", Environment, "environment")}
