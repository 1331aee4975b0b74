"""The file `checkpoint` of a folder from elsewhere: only names inside the folder count."""

import pathlib

import pytest
import tensorflow as tf

from albert_tf.checkpoints.run_folder import find_checkpoints, meant_checkpoint, newest_whole_checkpoint
from albert_tf.errors import InputWarning
from albert_tf.training.checkpointing import Checkpoints, remove_unfinished


def write_list(folder: pathlib.Path, *names: str) -> None:
    lines = [f'model_checkpoint_path: "{names[-1]}"', *(f'all_model_checkpoint_paths: "{n}"' for n in names)]
    (folder / "checkpoint").write_text("\n".join(lines))


def checkpoints_in(folder: pathlib.Path, keep: int = 1) -> Checkpoints:
    optimizer = tf.Module()
    optimizer._iterations = tf.Variable(7, dtype=tf.int64)  # as Keras names it
    return Checkpoints(str(folder), tf.Module(), optimizer, tf.distribute.get_strategy(), keep)


@pytest.fixture
def folders(tmp_path) -> tuple[pathlib.Path, pathlib.Path]:
    """A folder of a run, and that of another; each has the checkpoints of the steps 1 and 2."""
    for name in ("run", "other"):
        checkpoints = checkpoints_in(tmp_path / name, keep=2)
        for step in (1, 2):
            checkpoints.save(step)
    return tmp_path / "run", tmp_path / "other"


def names_in(folder: pathlib.Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("listed", ["../other/model.ckpt-1", "{other}/model.ckpt-1", "../other/model.ckpt-*"])
def test_checkpoints_of_another_folder_are_never_removed(folders, listed):
    run, other = folders
    before = names_in(other)
    write_list(run, listed.format(other=other), "model.ckpt-2")
    assert newest_whole_checkpoint(str(run), repair=True).step == 7
    checkpoints = checkpoints_in(run)
    for step in (3, 4):
        checkpoints.save(step)
    assert names_in(other) == before
    assert [saved.step for saved in checkpoints.kept()] == [4]
    assert not list(run.glob("model.ckpt-[23].*"))


def test_a_list_of_another_folder_alone_is_set_aside(folders, tmp_path):
    before = names_in(folders[1])
    run = tmp_path / "new"
    run.mkdir()
    write_list(run, "../other/model.ckpt-1", "../other/model.ckpt-5")
    assert meant_checkpoint(str(run)) is None
    with pytest.warns(InputWarning, match=r"checkpoint lists nothing in its folder, and was set aside"):
        assert newest_whole_checkpoint(str(run), repair=True) is None
    checkpoints_in(run).save(1)
    assert names_in(folders[1]) == before


@pytest.mark.parametrize("content", [
    b"\xff\xfe", b"{{{", b"",
    *(b'model_checkpoint_path: "%s"' % name for name in (b"", b"..", b"*")),
])  # fmt: skip
def test_a_list_that_names_nothing_is_written_again(folders, content):
    run, _ = folders
    (run / "checkpoint").write_bytes(content)
    with pytest.warns(InputWarning, match="lacks its list of checkpoints: the run continues from"):
        newest_whole_checkpoint(str(run), repair=True)
    assert find_checkpoints(str(run)) == [str(run / f"model.ckpt-{step}") for step in (1, 2)]


def test_names_inside_a_folder_that_was_moved_count(folders, tmp_path):
    run, _ = folders
    write_list(run, "/old/place/model.ckpt-1", "/old/place/model.ckpt-2")
    assert find_checkpoints(str(run)) == [str(run / f"model.ckpt-{step}") for step in (1, 2)]


def test_an_unfinished_checkpoint_that_is_a_link_leaves_its_target_alone(folders):
    run, other = folders
    before = names_in(other)
    (run / "model.ckpt-3_temp").symlink_to(other)
    (run / "model.ckpt-best_temp").mkdir()
    remove_unfinished(str(run))
    assert names_in(other) == before
    assert not list(run.glob("*_temp"))
