import pytest

from tests.support.classifier_runs import mrpc_flags


@pytest.fixture
def flags(glue, tmp_path) -> dict[str, object]:
    """Flags of run_classifier.py for MRPC and a tiny model."""
    return mrpc_flags(glue, tmp_path)
