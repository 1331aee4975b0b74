"""Folders that appear when they are complete: no run replaces what another has written meanwhile."""

import pathlib

import pytest

from albert_tf.errors import InputError
from albert_tf.files import folder_appears_when_complete


def write(folder: str | pathlib.Path, text: str) -> None:
    pathlib.Path(folder).mkdir(exist_ok=True)
    (pathlib.Path(folder) / "file").write_text(text)


@pytest.mark.parametrize("meanwhile", ["a folder", "a file", "an empty folder", "nothing"])
@pytest.mark.parametrize("overwrite", [True, False])
def test_a_folder_that_came_meanwhile_is_replaced_only_if_asked_for(overwrite, meanwhile, tmp_path):
    def run():
        with folder_appears_when_complete(str(tmp_path / "out"), overwrite) as folder:
            write(folder, "ours")
            if meanwhile == "a folder":
                write(tmp_path / "out", "theirs")
            elif meanwhile == "a file":
                (tmp_path / "out").write_text("theirs")
            elif meanwhile == "an empty folder":
                (tmp_path / "out").mkdir()

    if meanwhile in ("nothing", "an empty folder") or (overwrite and meanwhile == "a folder"):
        run()
        assert (tmp_path / "out" / "file").read_text() == "ours"
    else:
        with pytest.raises(InputError, match="out exists: another run has written it meanwhile"):
            run()
        theirs = tmp_path / "out" / "file" if meanwhile == "a folder" else tmp_path / "out"
        assert theirs.read_text() == "theirs"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
