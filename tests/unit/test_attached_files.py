"""Attached files on disk: names that lead nowhere, and a name only for what is whole."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spoolbridge import atomic
from spoolbridge.attached_files import AttachedFiles, file_names
from spoolbridge.incoming import Attachment, IncomingMessage
from spoolbridge.spool import Spool
from tests.support.messages import START, incoming

MESSAGE = incoming()
FOLDER = f"attachments/mayor-villa/{START}"


def attached(name: str = "chart.png", number: int = 9, size: int = 5) -> Attachment:
    return Attachment(number, name, "https://cdn.example/x", size)


@pytest.fixture
def files(spool: Spool) -> AttachedFiles:
    return AttachedFiles(spool.fd)


def kept(
    files: AttachedFiles, data: bytes, attachment: Attachment, *names: str, message: IncomingMessage = MESSAGE
) -> str:
    """The whole way of a file, as a download goes it."""
    fd = files.begin(message, attachment)
    try:
        os.write(fd, data)
        return files.finish(fd, message, attachment, names or ("chart.png", "chart-9.png"))
    finally:
        os.close(fd)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("chart.png", "chart.png"),
        ("..", "%2E%2E"),
        (".", "%2E"),
        ("../../etc/passwd", "%2E%2E%2F..%2Fetc%2Fpasswd"),
        ("/etc/passwd", "%2Fetc%2Fpasswd"),
        ("..\\x", "%2E%2E%5Cx"),
        (".bashrc", "%2Ebashrc"),
        ("-rf", "%2Drf"),
        ("a\nb\x1b[2J.png", "a%0Ab%1B%5B2J.png"),
        ("gnp.\u202eexe", "gnp.%E2%80%AEexe"),
        ("März 2026.pdf", "M%C3%A4rz%202026.pdf"),
        ("$(rm -rf .) `x`;&|*?", "%24%28rm%20-rf%20.%29%20%60x%60%3B%26%7C%2A%3F"),
        ("\ud800", "%EF%BF%BD"),
        ("", "file"),
        ("a\0b", "a%00b"),
    ],
)
def test_names(name: str, expected: str) -> None:
    """Nothing that a path, a shell or a terminal would act upon."""
    ((first, _),) = file_names([attached(name)])
    assert expected == first


@given(st.lists(st.text(st.characters(), max_size=300), max_size=10))
def test_any_names(names: list[str]) -> None:
    """Short enough for every file system, one harmless component each, and no two alike in any case."""
    given_ = file_names([attached(name, number) for number, name in enumerate(names, 10**19)])
    for pair in given_:
        for name in pair:
            assert 0 < len(name) <= 130
            assert set(name) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-%")
            assert name[0] not in ".-"
    assert len(names) == len({first.casefold() for first, _ in given_})


def test_a_suffix_survives_a_long_name() -> None:
    """What opens the file goes by it."""
    ((first, numbered),) = file_names([attached("ü" * 200 + ".png")])
    assert (first[-4:], numbered[-6:]) == (".png", "-9.png")


def test_several_of_one_name() -> None:
    """A phone calls every picture image0.jpg; the first keeps its name."""
    found = file_names([attached("a.png", 1), attached("A.png", 2), attached("a.png", 3), attached("b", 4)])
    assert ["a.png", "A-2.png", "a-3.png", "b"] == [first for first, _ in found]


def test_a_whole_file(files: AttachedFiles, spool: Spool) -> None:
    """It lies in its message's directory, the group may read it, and nobody may execute it."""
    old = os.umask(0)
    try:
        path = kept(files, b"hello", attached())
    finally:
        os.umask(old)
    assert f"{FOLDER}/chart.png" == path == files.find(MESSAGE, attached(), ("chart.png",))
    assert b"hello" == (spool.root / path).read_bytes()
    assert 0o640 == stat.S_IMODE((spool.root / path).stat().st_mode)
    assert [] == spool.names("tmp")


def test_half_a_file_bears_no_name(files: AttachedFiles, spool: Spool) -> None:
    """What a crash leaves lies in tmp/, and the next try begins anew."""
    os.close(files.begin(MESSAGE, attached()))
    assert ("", [f"attachment.{START}.9"]) == (
        files.find(MESSAGE, attached(), ("chart.png",)), spool.names("tmp"),
    )  # fmt: skip
    assert not (spool.root / FOLDER).exists()
    path = kept(files, b"hello", attached())
    assert (b"hello", []) == ((spool.root / path).read_bytes(), spool.names("tmp"))


def test_what_is_given_up_leaves_nothing(files: AttachedFiles, spool: Spool) -> None:
    """A full disk needs the room; twice is once."""
    os.close(files.begin(MESSAGE, attached()))
    files.discard(MESSAGE, attached())
    files.discard(MESSAGE, attached())
    assert [] == spool.names("tmp")


@pytest.mark.parametrize("size", [4, 6])
def test_a_file_of_another_size_is_not_it(files: AttachedFiles, spool: Spool, size: int) -> None:
    """Somebody else's of that name is neither taken for it nor replaced."""
    kept(files, b"x" * size, attached())
    assert "" == files.find(MESSAGE, attached(), ("chart.png", "chart-9.png"))
    assert f"{FOLDER}/chart-9.png" == kept(files, b"hello", attached())
    assert f"{FOLDER}/chart-9.png" == files.find(MESSAGE, attached(), ("chart.png", "chart-9.png"))
    with pytest.raises(FileExistsError):
        kept(files, b"again", attached())
    assert b"x" * size == (spool.root / FOLDER / "chart.png").read_bytes()


def test_a_link_is_not_followed(files: AttachedFiles, spool: Spool, tmp_path: Path) -> None:
    """Neither one of the file's name, nor one in the place of its directory, nor in tmp/."""
    (tmp_path / "elsewhere").mkdir()
    victim = tmp_path / "elsewhere" / "chart.png"
    victim.write_bytes(b"mine!")
    (spool.root / FOLDER).mkdir(parents=True)
    (spool.root / FOLDER / "chart.png").symlink_to(victim)
    (spool.root / "tmp" / f"attachment.{START}.9").symlink_to(victim)
    assert "" == files.find(MESSAGE, attached(), ("chart.png",))
    assert f"{FOLDER}/chart-9.png" == kept(files, b"hello", attached())
    other = incoming(START + 1)
    (spool.root / "attachments" / "mayor-villa" / str(other.id)).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(NotADirectoryError):
        files.find(other, attached(), ("chart.png",))
    with pytest.raises(NotADirectoryError):
        kept(files, b"hello", attached(), "new", message=other)
    assert (b"mine!", ["chart.png"]) == (victim.read_bytes(), os.listdir(tmp_path / "elsewhere"))


def test_a_spool_without_the_directories(tmp_path: Path) -> None:
    """They are made: an operator may have cleared them out."""
    (tmp_path / "bare").mkdir()
    with atomic.directory(tmp_path / "bare") as fd:
        assert f"{FOLDER}/chart.png" == kept(AttachedFiles(fd), b"hello", attached())
