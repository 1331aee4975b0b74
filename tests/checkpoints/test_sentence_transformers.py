"""Folders of sentence-transformers go both ways, and what our models do not have is refused."""

import json
import shutil

import numpy as np
import pytest

from albert_tf.asking.open_model import open_model
from albert_tf.checkpoints.conversion import Conversion, convert
from albert_tf.checkpoints.verification import random_batch
from albert_tf.errors import InputError, InputWarning
from albert_tf.export.trained_model import open_trained_model
from tests.support.trained_models import trained_model, write_run


def converted(folder, **task):
    """A model, and the folder of sentence-transformers that is made of its run."""
    trained = trained_model("similarity", **task)
    (folder / "run").mkdir()
    run, there = str(write_run(trained, folder / "run")), folder / "there"
    convert(Conversion(input=run, output=str(there), output_format="huggingface"))
    return trained, there


def vectors(model):
    return model(random_batch(model, "similarity"), training=False)["embedding"].numpy()


@pytest.mark.parametrize(
    "task", [{}, {"pooling": "cls", "normalize": False, "projection_size": None}], ids=["whole", "plain"]
)
def test_folders_go_both_ways(task, tmp_path):
    trained, there = converted(tmp_path, **task)
    kinds = [line["type"].rpartition(".")[2] for line in json.loads((there / "modules.json").read_text())]
    assert kinds == ["Transformer", "Pooling", "Dense", "Normalize"][: 2 if task else 4]
    assert 'library_name: "sentence-transformers"' in (there / "README.md").read_text()
    (there / "task.json").unlink()  # as in a folder of others
    for weights in (str(there), str(tmp_path / "back")):
        with open_trained_model(weights) as found:
            wanted = ("task_name", "pooling", "normalize", "max_seq_length")
            assert {name: found.task[name] for name in wanted} == {
                name: trained.task[name] for name in wanted
            }
            np.testing.assert_allclose(vectors(found.model), vectors(trained.model), atol=1e-6)
        if weights == str(there):
            back = Conversion(input=weights, output=str(tmp_path / "back"), output_format="tf2")
            convert(back)
    (there / "README.md").unlink()
    with_folders = Conversion(
        input=str(tmp_path / "back"), output=str(there), output_format="huggingface", overwrite=True
    )
    convert(with_folders)  # into folders that are there
    assert (there / "1_Pooling" / "config.json").is_file()


def test_sentence_transformers_gives_the_same_vectors(tmp_path):
    theirs = pytest.importorskip("sentence_transformers")
    _, there = converted(tmp_path)
    texts = ["The boats carry wool.", "a river"]
    found = theirs.SentenceTransformer(str(there), device="cpu").encode(texts)
    np.testing.assert_allclose(open_model(there).encode(texts), found, atol=1e-5)


def test_the_pooled_output_stays_ours(tmp_path):
    with pytest.warns(InputWarning, match="sentence-transformers has no pooled output"):
        trained, there = converted(tmp_path, pooling="pooled")
    assert not (there / "modules.json").exists()
    with open_trained_model(str(there)) as found:
        np.testing.assert_allclose(vectors(found.model), vectors(trained.model), atol=1e-6)


def test_other_modules_are_refused(tmp_path):
    _, there = converted(tmp_path)

    def change(file, **values):
        path = there / file
        kept = path.read_text()
        content = json.loads(kept)
        if isinstance(content, list):
            content[1] |= values
        else:
            content |= values
        path.write_text(json.dumps(content))
        with pytest.raises(InputError) as refusal:
            open_trained_model(str(there)).__enter__()
        path.write_text(kept)
        return str(refusal.value)

    message = change("modules.json", type="sentence_transformers.models.WeightedLayerPooling")
    assert "has Transformer, WeightedLayerPooling, Dense, Normalize; Transformer, Pooling" in message
    assert "the pooling must be one of mean, cls, not pooling_mode_mean_tokens, pooling_mode_max" in change(
        "1_Pooling/config.json", pooling_mode_max_tokens=True
    )
    message = change("2_Dense/config.json", activation_function="torch.nn.modules.activation.Tanh")
    assert "activation_function must be torch.nn.modules.linear.Identity, not" in message
    shutil.rmtree(there / "2_Dense")
    with pytest.raises(InputError, match="2_Dense"):
        open_trained_model(str(there)).__enter__()
