"""Models that are opened once: from memory, or from the folder of a run."""

import pytest

from albert_tf.asking.open_model import OpenModel
from albert_tf.export.serving.saved_model import serve
from tests.support.trained_models import trained_model, write_run


@pytest.fixture(scope="session")
def opened():
    """Gives the model of a kind."""
    made = {}

    def opened_once(kind: str) -> OpenModel:
        if kind not in made:
            trained = trained_model(kind)
            signatures = {name: one.traced for name, one in serve(trained, {}).signatures().items()}
            made[kind] = OpenModel("mrpc", trained.assets, trained.tokenizer, signatures)
        return made[kind]

    return opened_once


@pytest.fixture(scope="session")
def run_folder(tmp_path_factory):
    """The folder of a pretraining run."""
    return write_run(trained_model("pretraining"), tmp_path_factory.mktemp("run"))
