import gc
import pathlib

import pytest

from albert_tf.cli.script import quiet_start
from tests.support.glue_files import write_glue

SHARED_DATA = pathlib.Path(__file__).resolve().parents[2] / "shared" / "data"


def pytest_configure(config):
    """Starts TensorFlow as the scripts do, with two logical CPU devices so that distribution is tested."""
    quiet_start("error")
    if config.getoption("numprocesses", None):
        return  # the tests run in processes of their own
    import tensorflow as tf

    [cpu] = tf.config.list_physical_devices("CPU")
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)


def pytest_collection_finish(session):
    """Spares the garbage collector TensorFlow's modules, and most of its rounds: graphs make many objects."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)


@pytest.fixture(scope="module", autouse=True)
def _collected():
    """Keeps what stays of a module out of the collector's later rounds, whose time would grow with it."""
    yield
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def two_devices():
    """One strategy for all tests: the collective operations of several in one process collide."""
    import tensorflow as tf

    return tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])


@pytest.fixture(scope="session")
def glue(tmp_path_factory) -> pathlib.Path:
    """A folder with small files of all tasks of GLUE; no test changes it."""
    return write_glue(tmp_path_factory.mktemp("glue"))


@pytest.fixture
def shared_data():
    if not SHARED_DATA.is_dir():
        pytest.skip(f"no real data at {SHARED_DATA}")
    return SHARED_DATA
