"""The files of serving/ agree with each other and with the client."""

import pathlib
import re

import pytest
import yaml
from google.protobuf import text_format
from tensorflow_serving.config import model_server_config_pb2

from albert_tf.serving_client import ClientOptions

SERVING = pathlib.Path(__file__).resolve().parents[2] / "serving"


@pytest.fixture(scope="module")
def service():
    return yaml.safe_load((SERVING / "compose.yaml").read_text())["services"]["serving"]


def test_the_model_is_where_its_volume_is(service):
    config = model_server_config_pb2.ModelServerConfig()
    text_format.Parse((SERVING / "models.config").read_text(), config)
    [model] = config.model_config_list.config
    assert model.model_platform == "tensorflow"
    assert any(volume.endswith(f":{model.base_path}:ro") for volume in service["volumes"])


def test_the_files_of_the_command_are_in_the_folder_that_is_mounted(service):
    assert ".:/serving:ro" in service["volumes"]
    names = [flag.partition("=/serving/")[2] for flag in service["command"] if "/serving/" in flag]
    assert sorted(names) == ["batching_parameters.txt", "models.config", "monitoring.config"]
    for name in names:
        assert (SERVING / name).is_file()


def test_a_batch_holds_a_request_of_the_client():
    parameters = (SERVING / "batching_parameters.txt").read_text()
    values = dict(re.findall(r"(?m)^(\w+) \{ value: (\d+) \}$", parameters))
    assert int(values["max_batch_size"]) >= ClientOptions.batch_size
