"""The lock and the messages of a run are not written through links, which would overwrite other files."""

import os

import pytest

from albert_tf.checkpoints.assets import Assets
from albert_tf.errors import InputError
from albert_tf.files import write_text
from albert_tf.testing import SPM_MODEL_FILE
from albert_tf.training.folder import folder_of_others, no_link, own_folder


@pytest.mark.parametrize("lock", [own_folder, folder_of_others])
def test_a_lock_that_is_a_link_is_refused_and_its_target_stays(lock, tmp_path):
    (tmp_path / "precious").write_text("of others")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / ".lock").symlink_to(tmp_path / "precious")
    with (
        pytest.raises(InputError, match=r"run/\.lock is a link, which is not followed"),
        lock(str(tmp_path / "run")),
    ):
        pass
    assert (tmp_path / "precious").read_text() == "of others"


@pytest.mark.parametrize("lock", [own_folder, folder_of_others])
def test_a_lock_that_is_a_pipe_is_refused_at_once(lock, tmp_path):
    os.mkfifo(tmp_path / ".lock")
    with pytest.raises(InputError, match=r"\.lock is no regular file"), lock(str(tmp_path)):
        pass


def test_a_file_that_is_there_is_opened_as_ever(tmp_path):
    for text in ("a", "b"):
        with open(tmp_path / "worker-1.log", "a", opener=no_link) as log:
            log.write(text)
    assert (tmp_path / "worker-1.log").read_text() == "ab"


def test_written_files_replace_links_and_leave_their_targets(tmp_path):
    (tmp_path / "precious").write_text("of others")
    for name in ("training.json", os.path.basename(SPM_MODEL_FILE)):
        (tmp_path / name).symlink_to(tmp_path / "precious")
    write_text(str(tmp_path / "training.json"), "{}")
    Assets(spm_model_file=SPM_MODEL_FILE).write(str(tmp_path))
    assert (tmp_path / "precious").read_text() == "of others"
    assert (tmp_path / "training.json").read_text() == "{}"


def test_left_overs_of_a_killed_process_do_not_hinder(tmp_path):
    for name in (f".results.{os.uname().nodename}.{os.getpid()}.incomplete", ".results.incomplete"):
        (tmp_path / name).symlink_to(tmp_path / "precious")
    write_text(str(tmp_path / "results"), "whole")
    assert (tmp_path / "results").read_text() == "whole"
    assert not (tmp_path / "precious").exists()
