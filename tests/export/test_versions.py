"""Folders of versions that several processes write at once."""

import pytest

from kseg.export import versions


def write(folder, version, inside=lambda: None):
    with versions.writing(folder, version) as (temporary, target):
        with open(f"{temporary}/saved_model.pb", "w") as file:
            file.write(target)
        inside()
    return target


def test_two_that_write_the_next_version_at_once_both_end_well(tmp_path):
    inner = []
    outer = write(tmp_path, "next", lambda: inner.append(write(tmp_path, "next")))
    assert (outer, inner) == (str(tmp_path / "1"), [str(tmp_path / "2")])
    for name in ("1", "2"):
        assert (tmp_path / name / "saved_model.pb").read_text() == str(tmp_path / name)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["1", "2"]


def test_a_number_that_another_is_writing_is_refused_and_the_other_goes_on(tmp_path):
    def second():
        with pytest.raises(FileExistsError, match="1 is being written by another process"):
            write(tmp_path, "1")

    write(tmp_path, "1", second)
    assert (tmp_path / "1" / "saved_model.pb").exists()


def test_what_a_killed_process_left_is_written_over(tmp_path):
    (tmp_path / ".writing-1" / "variables").mkdir(parents=True)
    (tmp_path / ".writing-1" / "half").touch()
    write(tmp_path, "next")
    assert [path.name for path in (tmp_path / "1").iterdir()] == ["saved_model.pb"]
    assert not (tmp_path / ".writing-1").exists()
