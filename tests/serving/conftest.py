import shutil

import pytest
import tensorflow as tf
from filelock import FileLock

from tests.support import native_model
from tests.support.serving_exports import KINDS, export, make_trained_model

# For the session, so that the tests of a kind run one after the other and share its export.


@pytest.fixture(scope="session")
def native_program(tmp_path_factory):
    """The C++ program, built once."""
    if not shutil.which("g++"):
        pytest.skip("no g++ to build the C++ program with")
    return native_model.compile_program(str(tmp_path_factory.mktemp("native")))


# Scores and SQuAD 1.1 are left out: their signatures have no part that other kinds lack.
@pytest.fixture(
    scope="session", params=[kind for kind in KINDS if kind not in ("regression", "question_answering")]
)
def trained(request):
    """A tiny model of each kind."""
    return make_trained_model(request.param)


@pytest.fixture(scope="session")
def export_dir(trained, tmp_path_factory, worker_id):
    """The folder of its only version; the first of pytest's processes that needs it makes it for all."""
    base = tmp_path_factory.getbasetemp()
    folder = (base if worker_id == "master" else base.parent) / f"export-{trained.head}"
    with FileLock(f"{folder}.lock"):
        return str(folder / "1") if folder.exists() else export(trained, str(folder))


@pytest.fixture(scope="session")
def signatures(export_dir):
    """What Python's loader makes of it: functions by name."""
    model = tf.saved_model.load(export_dir)
    yield dict(model.signatures)
    del model  # whose functions die with it


@pytest.fixture(scope="session")
def native(native_program, export_dir):
    """What TensorFlow Serving's loader makes of it."""
    with native_model.NativeModel(native_program, export_dir) as model:
        yield model
