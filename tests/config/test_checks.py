"""What is named as a file is one, or the cause is told."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from adaspan.config.checks import known_encoding, readable_file


def mistake(path: Path) -> str:
    (line,) = readable_file("data.path", str(path))
    return line.removeprefix(f"data.path={path}: ")


@pytest.mark.parametrize("name", ["text", "a b.txt", "a=b,c.txt", "naïve", "-x", "[1]", "{a}"])
def test_any_name_will_do(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("text")
    (tmp_path / "link").symlink_to(name)
    assert [*readable_file("data.path", str(tmp_path / name))] == []
    assert [*readable_file("data.path", str(tmp_path / "link"))] == []


def test_home_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "text").write_text("text")
    assert [*readable_file("data.path", "~/text")] == []


def test_what_is_no_file_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # the name of a socket is short
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "dangling").symlink_to("gone")
    (tmp_path / "circle").symlink_to("circle")
    (tmp_path / "empty").touch()
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("socket")
        assert mistake(Path("socket")) == "is a socket, must be a file"
    assert mistake(tmp_path) == "is a folder, must be a file"
    assert mistake(tmp_path / "pipe").startswith("is a pipe, which can be read once, but a run ")
    assert mistake(tmp_path / "dangling") == "is a link to gone, where there is no file"
    assert mistake(tmp_path / "circle") == "Too many levels of symbolic links"
    assert mistake(tmp_path / "empty") == "the file is empty"
    assert mistake(tmp_path / "empty" / "text") == "Not a directory"
    assert mistake(tmp_path / ("x" * 300)) == "File name too long"
    assert mistake(tmp_path / "none") == "no such file"
    assert mistake(Path("/dev/zero")) == "is a device, must be a file"


def test_a_file_of_the_system_has_no_size_but_a_content() -> None:
    assert [*readable_file("data.path", "/proc/self/status")] == []


def test_encodings_are_those_of_python() -> None:
    for name in ("utf-8", "latin-1", "cp1251", "UTF16", "raw"):
        assert [*known_encoding("data.encoding", name)] == []
    for name in ("cp9999", "base64", "rot13", "", "a\0b", "../x"):
        (line,) = known_encoding("data.encoding", name)
        assert line.startswith(f"data.encoding={name}: no such encoding; ")
