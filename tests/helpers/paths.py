"""Where things lie in the repository, and real data beside it, where there are any."""

from pathlib import Path

ROOT = Path(__file__).parents[2]
EVAL = ROOT / "eval"
RECIPES = ROOT / "recipes"
SWEEPS = ROOT / "sweeps"
PACKAGE = ROOT / "src" / "centaurlab"
TESTS = ROOT / "tests"

SHARED = next((folder / "shared" for folder in ROOT.parents if (folder / "shared").is_dir()), ROOT.parent / "shared")
"""Real transcripts and published NLLs, which are no part of the project: tests that need them are skipped without."""
PSYCH_201 = SHARED / "data" / "psych-201"
