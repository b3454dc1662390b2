"""Feed a target with inputs that atheris makes from its seeds, looking for new paths through the package.

    python tests/fuzz/fuzz.py reader -runs=100000 [any option of libFuzzer]

An input that breaks something ends the program with its traceback, and lies in ./crash-…; ``fuzz.py reader crash-…``
reads it once more.
"""

import resource
import sys
import tempfile
from pathlib import Path

import atheris

sys.path[0] = str(Path(__file__).parents[1])  # not this folder, where ``fuzz`` would be this file

with atheris.instrument_imports(include=["centaurlab"]):
    from fuzz.inputs import SEEDS, WORDS
    from fuzz.targets import TARGETS

MAX_BYTES = 600
EVERY = 100
MOST_MIB = 2048  # above what the process, or the one that started it, has had: Linux hands the peak on


def main() -> None:
    name, *options = sys.argv[1:]
    memory = Path("/dev/shm")  # files cost less there
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as folder:
        corpus, inputs, words = Path(folder, "corpus"), Path(folder, "inputs"), Path(folder, "words")
        corpus.mkdir()
        inputs.mkdir()
        for number, seed in enumerate(SEEDS[name]):
            (corpus / f"seed-{number}").write_bytes(seed)
        escaped = ("".join(f"\\x{byte:02x}" for byte in word.encode()) for word in WORDS[name])
        words.write_text("".join(f'"{word}"\n' for word in escaped))
        seen = accepted = 0

        def check(data: bytes) -> None:
            nonlocal seen, accepted
            accepted += TARGETS[name](data, inputs)
            seen += 1
            if seen % EVERY == 0:  # libFuzzer ends the process by itself
                print(f"{name}: {accepted} of {seen} inputs accepted", flush=True)

        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024 + MOST_MIB
        replayed = [option for option in options if not option.startswith("-")]
        settings = [f"-dict={words}", f"-max_len={MAX_BYTES}", f"-rss_limit_mb={most}", "-verbosity=0"]
        settings += [] if replayed else [str(corpus)]
        atheris.Setup([sys.argv[0], *settings, *options], check)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
