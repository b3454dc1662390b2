"""Published lists of effects: programs that say of tables of trials how large each effect is."""

import contextlib
import io
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import pandas as pd

from centaurlab.runtime.errors import UserError
from centaurlab.runtime.own_file import files_of, run_file

LIST = "analysis.py"
Tables = Mapping[str, pd.DataFrame]
Key = tuple[str, str]
"""An effect and its experiment, as the list calls them."""


@dataclass(frozen=True)
class EffectList:
    """The effects of a study; ``study`` is the name of the folder."""

    path: Path
    study: str
    module: ModuleType

    def load(self, files: Mapping[str, Path]) -> Tables:
        """The tables of ``files``, as the list loads them; others that it finds by itself are left out."""
        load = getattr(self.module, "load_data", None)
        if load is None:
            return {name: pd.read_csv(path) for name, path in files.items()}
        with self._of(files), contextlib.redirect_stdout(io.StringIO()):
            tables = load({name: str(path) for name, path in files.items()})
        return {name: tables[name] for name in files}

    def found(self, effect: Callable[[Tables], Any], tables: Tables) -> dict[Key, Mapping[str, Any]]:
        """What an effect says of tables, by name and experiment; a second row of the same is numbered."""
        with self._of(tables), warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            said = effect({name: table.copy() for name, table in tables.items()})
        rows = said if isinstance(said, list | tuple) else [said]
        named = [(str(row.get("effect_name", effect.__name__)), str(row.get("experiment", ""))) for row in rows]
        times = [named[: n + 1].count(key) for n, key in enumerate(named)]
        keys = [(f"{name} ({n})" if n > 1 else name, where) for (name, where), n in zip(named, times, strict=True)]
        return dict(zip(keys, rows, strict=True))

    def experiments(self) -> list[str] | None:
        """Those that the list speaks of; None: it does not say."""
        named = getattr(self.module, "EXPERIMENTS", None)
        return None if named is None else list(map(str, named))

    @contextlib.contextmanager
    def _of(self, there: Mapping[str, object]) -> Iterator[None]:
        """Have the list speak of the experiments alone that there are."""
        named = getattr(self.module, "EXPERIMENTS", None)
        if named is None:
            yield
            return
        self.module.EXPERIMENTS = list(there)  # type: ignore[attr-defined]
        try:
            yield
        finally:
            self.module.EXPERIMENTS = named  # type: ignore[attr-defined]


def load_lists(paths: Sequence[str]) -> list[EffectList]:
    """The lists of files ``analysis.py``, of folders with one, or of folders of such folders. They are run."""
    found = [_load(path) for given in paths for path in files_of(Path(given), LIST, "list of effects")]
    for one in found:
        if [other.study for other in found].count(one.study) > 1:
            raise UserError(f"two lists of effects are of {one.study!r}, as their folders are called; give one")
    return found


def _load(path: Path) -> EffectList:
    module = run_file(path, "list of effects")
    effects = getattr(module, "EFFECTS", None)
    if not isinstance(effects, list | tuple) or not effects or not all(map(callable, effects)):
        raise UserError(f"{path} defines no EFFECTS, a list of functions of tables")
    return EffectList(path, path.resolve().parent.name, module)
