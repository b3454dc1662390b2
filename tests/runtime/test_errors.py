"""An error is one sentence on one line."""

import errno
from collections.abc import Iterator
from pathlib import Path

import pytest
from tqdm import tqdm

from centaurlab.runtime.disk import write_together
from centaurlab.runtime.errors import UserError, exit_on_user_error, is_disk_full


def test_a_name_with_a_line_separator_does_not_break_the_line() -> None:
    assert (
        str(UserError("data.zip/prompt\x1c.jsonl: cannot be\nunpacked")) == "data.zip/prompt .jsonl: cannot be unpacked"
    )


@pytest.mark.parametrize(
    ("error", "is_full"),
    [
        (OSError(errno.ENOSPC, "no space"), True),
        (OSError(errno.EACCES, "permission denied"), False),
        (RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos 4096 vs 3984"), True),  # torch.save
        (RuntimeError("PytorchStreamReader failed reading zip archive"), False),
    ],
)
def test_a_full_disk_is_known_by_whatever_a_library_says(error: Exception, is_full: bool) -> None:
    outer = ValueError("not saved")
    outer.__cause__ = error
    assert is_disk_full(outer) == is_full


def test_the_causes_of_an_error_may_form_a_circle() -> None:
    first, second = ValueError("not saved"), KeyError("name")
    first.__context__, second.__cause__ = second, first
    assert not is_disk_full(first)


@pytest.mark.parametrize(("error", "said"), [(UserError("no"), "error: no"), (KeyboardInterrupt(), "interrupted: ")])
def test_a_sentence_stands_below_progress_bars(
    error: BaseException, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    bars = []

    def main() -> None:
        bars.extend([tqdm(total=4, desc="training"), tqdm(total=4, desc="evaluating", leave=False)])
        raise error

    with pytest.raises(SystemExit):
        exit_on_user_error(main)
    *_, above, last, end = capsys.readouterr().err.split("\n")
    assert "training:   0%" in above
    assert last.startswith(said)
    assert not end


def test_files_that_belong_together_are_all_written_or_none(tmp_path: Path) -> None:
    before, new = tmp_path / "before.svg", tmp_path / "new.svg"
    before.write_bytes(b"before")

    def files() -> Iterator[tuple[Path, bytes]]:
        yield from ((before, b"after"), (new, b"new"))
        raise OSError(errno.ENOSPC, "no space")

    with pytest.raises(OSError, match="no space"):
        write_together(files())
    assert list(tmp_path.iterdir()) == [before]
    assert before.read_bytes() == b"before"
    write_together([(before, b"after"), (new, b"new")])
    assert (before.read_bytes(), new.read_bytes()) == (b"after", b"new")
