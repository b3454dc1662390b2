"""From a study's name to what is known of it: the catalog's modules, or one file of the user's own."""

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

from centaurlab.catalog.studies.study import Study
from centaurlab.runtime.errors import UserError
from centaurlab.runtime.own_file import load_own


@cache
def catalog_studies() -> Mapping[str, Study]:
    """The studies that the catalog has a module of, by each of their names."""
    from centaurlab.catalog.studies import (
        alsobay2025,
        benakiva1993,
        busch2024,
        guenther2020,
        guenther2022,
        guenther2023,
        guenther2024,
        hbayesdm2017,
        healey2014,
        jain1994,
        little2024,
        olschewski2024,
        sandbrink2024,
        schiekiera2025,
        shahar2019,
        spektor2019,
        surveys,
        thoma2025,
    )

    modules = (
        *(alsobay2025, benakiva1993, busch2024, guenther2020, guenther2022, guenther2023, guenther2024, hbayesdm2017),
        *(healey2014, jain1994, little2024, olschewski2024, sandbrink2024, schiekiera2025, shahar2019, spektor2019),
        *(surveys, thoma2025),
    )
    return _by_name([study for module in modules for study in module.STUDIES])


def find_study(name: str, own: Mapping[str, Study] | None = None) -> Study | None:
    """The study called ``name``: of ``own`` if it is there, else of the catalog; None where neither has it."""
    return (own or {}).get(name) or catalog_studies().get(name)


def load_studies(path: Path) -> Mapping[str, Study]:
    """The studies of a user's own file, by each of their names. The file is Python and is run: use your own only.

    It defines ``STUDIES``, a tuple of ``Study``, as the catalog's modules do. Raises ``UserError`` for a file that
    cannot be read or run, or that defines something else.
    """
    studies = load_own(path, "STUDIES", Study, "study module")
    try:
        return _by_name(studies)
    except UserError as error:
        raise UserError(f"{path}: {error}") from error


def _by_name(studies: Sequence[Study]) -> Mapping[str, Study]:
    by_name: dict[str, Study] = {}
    for study in studies:
        for name in (study.name, *study.also_called):
            if name in by_name:
                raise UserError(f"two studies are called {name!r}; give each a name of its own")
            by_name[name] = study
    return by_name
