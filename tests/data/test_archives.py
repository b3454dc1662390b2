"""Compressed files and archives are read as streams, and what would harm the reader is refused by name."""

import gzip
import zipfile

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from centaurlab.data.source import DataArguments, open_source
from centaurlab.runtime.errors import UserError
from helpers.sources import error_of, read, skipped_in
from helpers.transcripts import json_lines, session


def test_copies_that_macos_puts_into_archives_are_ignored(tmp_path):
    with zipfile.ZipFile(tmp_path / "prompts.jsonl.zip", "w") as archive:
        archive.writestr("__MACOSX/._prompts.jsonl", b"\x00\x05\x16\x07")
        archive.writestr("prompts.jsonl", json_lines([session(1)]))
    assert len(read(tmp_path / "prompts.jsonl.zip")) == 1


def test_compressed_members_of_an_archive_are_read_and_archives_within_are_named(tmp_path):
    with zipfile.ZipFile(tmp_path / "s.zip", "w") as archive:
        archive.writestr("a.jsonl.gz", gzip.compress(json_lines([session(1), session(2)]).encode()))
        archive.writestr("B.NDJSON", json_lines([session(3)]))
        archive.writestr("c.parquet", b"PAR1")
        archive.writestr("d.zip", b"PK")
        archive.writestr("README.md", b"about")
    source = open_source(DataArguments(data=str(tmp_path / "s.zip"), on_malformed="skip"))
    assert [t.participant for t in source] == ["1", "2", "3"]
    assert [str(problem) for problem in skipped_in(source)] == [
        f"{tmp_path}/s.zip/{name}: is an archive of its own; unpack it first" for name in ("c.parquet", "d.zip")
    ]
    assert source.notes == ("s.zip: skipped 1 file (README.md) without transcripts",)


def test_a_torn_member_in_an_archive_is_named_with_the_line_where_it_breaks(tmp_path):
    whole = gzip.compress(json_lines([session(i, filler=str(3**i)) for i in range(99)]).encode())
    with zipfile.ZipFile(tmp_path / "s.zip", "w") as archive:
        archive.writestr("a.jsonl.gz", whole[: len(whole) // 2])
    assert "s.zip/a.jsonl.gz:" in error_of(tmp_path / "s.zip")
    with zipfile.ZipFile(tmp_path / "s.zip", "w") as archive:
        archive.writestr("a.jsonl.gz", b"no gzip")
    assert "the compressed data are damaged" in error_of(tmp_path / "s.zip")


def test_a_member_of_an_archive_is_named_in_the_origin_and_may_name_the_study(tmp_path):
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as archive:
        archive.writestr("badham2017deficits/prompts.jsonl", json_lines([session(1)]))
        archive.writestr("bahrami2020four.jsonl", json_lines([session(1)]))
    transcripts = read(tmp_path / "all.zip")
    assert [t.study for t in transcripts] == ["badham2017deficits", "bahrami2020four"]
    assert transcripts[1].origin == f"{tmp_path}/all.zip/bahrami2020four.jsonl:1"


def test_damaged_compressed_data_are_named_with_the_line_where_they_break(tmp_path):
    whole = gzip.compress(json_lines([session(i) for i in range(3)]).encode())
    (tmp_path / "s.jsonl.gz").write_bytes(whole[:-10])
    assert "the compressed data are damaged" in error_of(tmp_path / "s.jsonl.gz")


@pytest.mark.parametrize("member", ["/etc/x.jsonl", "../x.jsonl", "a/../../x.jsonl", "..\\x.jsonl", "C:\\x.jsonl"])
def test_members_with_absolute_or_parent_paths_are_refused(tmp_path, member):
    with zipfile.ZipFile(tmp_path / "s.zip", "w") as archive:
        archive.writestr(member, json_lines([session(1)]))
    assert "has an absolute or parent path" in error_of(tmp_path / "s.zip")
    assert list(tmp_path.iterdir()) == [tmp_path / "s.zip"]


@pytest.mark.parametrize("name", ["bomb.zip", "bomb.jsonl.gz"])
def test_archives_that_unpack_to_hundreds_of_times_their_size_are_refused(tmp_path, name):
    bomb = b" " * 1_000 + b"\n"
    if name.endswith(".gz"):
        with gzip.open(tmp_path / name, "wb") as stream:
            for _ in range(80):
                stream.write(bomb * 1_000)
    else:
        with (
            zipfile.ZipFile(tmp_path / name, "w", zipfile.ZIP_DEFLATED) as archive,
            archive.open("prompts.jsonl", "w") as stream,
        ):
            for _ in range(80):
                stream.write(bomb * 1_000)
    assert (tmp_path / name).stat().st_size < 1_000_000
    assert "unpacks to more than" in error_of(tmp_path / name)


def test_what_an_archive_says_of_its_members_sizes_hides_no_bomb(tmp_path):
    """Forty members that are one and the same: no one unpacks to 200 times what it claims, all do together."""
    path = tmp_path / "s.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.jsonl", b" " * 9_999_999 + b"\n")
        (one,) = archive.infolist()
        one.compress_size *= 100
        archive.filelist += [one] * 39
    assert path.stat().st_size < 20_000
    source = open_source(DataArguments(data=str(path), on_malformed="skip"))
    with pytest.raises(UserError, match="no session is left"):
        list(source)
    problems = [examined.problem for examined in source.examine()]
    assert sum("unpacks to more than 200 times its size" in problem.reason for problem in problems) == 1
    assert len(problems) < 10, "nothing is read after it"


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_member_in_another_compression_is_refused(tmp_path, method):
    with zipfile.ZipFile(tmp_path / "s.zip", "w", method) as archive:
        archive.writestr("prompts.jsonl", json_lines([session(1)]))
    assert "is compressed in a way that is not read here; use deflate" in error_of(tmp_path / "s.zip")


@pytest.mark.parametrize(
    ("member", "found", "put", "said"),
    [
        ("prompts.jsonl", b"PK\x01\x02\x14\x03\x14\x00", b"PK\x01\x02\x14\x03\xff\x00", "zip file version"),
        ("prompts.jsonl", b"prompts.jsonl", b"\0rompts.jsonl", "holds no .jsonl or .ndjson file"),
        ("prömpts.jsonl", "prömpts.jsonl".encode(), b"pr\xff\xffmpts.jsonl", "can't decode byte"),
    ],
)
def test_a_torn_directory_of_an_archive_is_named(tmp_path, member, found, put, said):
    path = tmp_path / "s.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(member, "{}")
    content = path.read_bytes()
    assert found in content
    path.write_bytes(content.replace(found, put))
    assert said in error_of(path)


def test_a_parquet_file_that_unpacks_to_hundreds_of_times_its_size_is_refused(tmp_path):
    text = "You press <<J>>." + " " * (1 << 27)
    pq.write_table(pa.table({"text": [text], "participant": [1]}), tmp_path / "s.parquet", compression="zstd")
    assert "unpacks to more than 200 times its size" in error_of(tmp_path / "s.parquet")


def test_an_encrypted_member_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "s.zip", "w") as archive:
        archive.writestr("prompts.jsonl", json_lines([session(1)]))
        archive.infolist()[0].flag_bits |= 0x1
    assert "s.zip/prompts.jsonl: is encrypted" in error_of(tmp_path / "s.zip")
