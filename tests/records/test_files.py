"""Files are whole or not there, whatever ends the writing."""

import os
import re

import pytest

from tfrecords import files


@pytest.mark.parametrize("content", [b"new\n", "new\n", lambda file: file.write(b"new\n")])
def test_what_is_written_takes_the_place_of_what_was_there(tmp_path, content):
    path = tmp_path / "a.json"
    for _ in range(2):
        files.write_whole(path, content)
        assert path.read_bytes() == b"new\n" and os.listdir(tmp_path) == ["a.json"]


@pytest.mark.parametrize("failing", ["content", "fsync", "replace"])
def test_after_an_error_the_old_file_is_there_and_nothing_else(tmp_path, monkeypatch, failing):
    path = tmp_path / "a.json"
    files.write_whole(path, b"old")

    def full(*arguments):
        raise OSError(28, "No space left on device")

    if failing != "content":
        monkeypatch.setattr(os, failing, full)
    with pytest.raises(OSError, match=r"No space left on device: '.*/a\.json\.[0-9a-f]{16}\.tmp'"):
        files.write_whole(path, full if failing == "content" else b"new")
    assert path.read_bytes() == b"old" and os.listdir(tmp_path) == ["a.json"]


def test_an_error_with_words_of_its_own_keeps_them(tmp_path):
    with pytest.raises(FileExistsError, match="^left as it is$"), files.replacing(tmp_path / "a.png") as partial:
        with open(partial, "wb") as file:
            file.write(b"half")
        raise FileExistsError("left as it is")
    assert os.listdir(tmp_path) == []


def test_a_writer_that_goes_by_the_names_end_finds_it_there(tmp_path):
    with files.replacing(tmp_path / "model.keras", ".tmp.keras") as partial:
        assert partial.endswith(".tmp.keras")
        with open(partial, "wb") as file:
            file.write(b"model")
    assert os.listdir(tmp_path) == ["model.keras"]


def test_a_folder_that_cannot_be_written_is_refused_before_there_is_work_to_lose(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    (tmp_path / "link").symlink_to("nothing")
    for free in (tmp_path, tmp_path / "new", tmp_path / "new" / "below"):
        files.check_folder(free, "--to")
    for path, words in (
        ("file", "/file is a file; give a folder, or a name that is free, as --to."),
        ("file/a/b", f"--to={tmp_path}/file/a/b cannot be made, since {tmp_path}/file is a file; give another --to."),
        ("link", "/link is a link to nothing; give a folder"),
    ):
        with pytest.raises(ValueError, match=re.escape(words)):
            files.check_folder(tmp_path / path, "--to")
    files.check_file(tmp_path / "file", "--to")
    files.check_file(tmp_path / "new" / "page.html", "--to")
    for path, words in (
        (".", f"--to={tmp_path} is a folder; name a file in it."),
        ("file/page.html", f"--to={tmp_path}/file/page.html cannot be made, since {tmp_path}/file is a file"),
    ):
        with pytest.raises(ValueError, match=re.escape(words)):
            files.check_file(tmp_path / path, "--to")
    monkeypatch.setattr(os, "access", lambda path, mode: path != str(tmp_path))  # root may write anywhere
    for path in (tmp_path, tmp_path / "new"):
        with pytest.raises(ValueError, match=f"cannot be written: {tmp_path} is not yours to write to"):
            files.check_folder(path, "--to")
    assert {path.name for path in tmp_path.iterdir()} == {"file", "link"}
