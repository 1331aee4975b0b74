"""The same outputs as Hugging Face's models, both ways. Needs the `interop` extra."""

import json
import pathlib
import warnings

import numpy as np
import pytest

import albert_tf
from albert_tf.checkpoints import huggingface
from albert_tf.checkpoints.assets import Assets
from albert_tf.checkpoints.conversion import Conversion, convert
from albert_tf.checkpoints.sources import open_source
from albert_tf.checkpoints.verification import check, random_batch, transformers_outputs
from albert_tf.models import heads
from albert_tf.testing import SPM_MODEL_FILE, VOCAB_FILE, tiny_config
from albert_tf.tokenization import load_tokenizer
from tests.checkpoints.test_conversion import GROUPED, HEADS, original_of
from tests.support.checkpoint_files import randomize, weights_of

torch = pytest.importorskip("torch", reason="needs the interop extra: pip install .[interop]")
transformers = pytest.importorskip("transformers", reason="needs the interop extra: pip install .[interop]")

TOLERANCE = 1e-5
MODELS = {
    "AlbertForPreTraining": "pretraining",
    "AlbertForMaskedLM": "pretraining",
    "AlbertForSequenceClassification": "classification",
    "AlbertForMultipleChoice": "multiple_choice",
    "AlbertForTokenClassification": "token_classification",
    "AlbertForQuestionAnswering": "question_answering",
    "AlbertModel": "encoder",
}
TEXTS = [
    "The boats walked down the river, past the old city of men and women.",
    "A Café in the year 2009, they said (so he thought) was - well - here.",
    "Between 1987, 2009, and हिन्दी, Việt Nam",
    "It's 5.5 % of 1000; “quoted” words…",
    "\ttabs  and   spaces\n",
    "",
]


@pytest.fixture(autouse=True)
def quiet():
    """Third parties deprecate things in each other."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def assert_same_outputs(ours, theirs, names=None) -> None:
    for name in names or ours.keys():
        np.testing.assert_allclose(ours[name], theirs[name], atol=TOLERANCE, err_msg=name)


@pytest.mark.parametrize("change", [{}, GROUPED], ids=["1x1", "2x2"])
@pytest.mark.parametrize("name", MODELS)
def test_a_model_of_theirs_gives_the_same_here(name, change, tmp_path):
    torch.manual_seed(0)
    config = tiny_config(**change)
    keys = {key: value for key, value in config.to_dict().items() if key != "hidden_act"}
    labels = 3 if MODELS[name] in ("classification", "token_classification") else 2
    theirs = getattr(transformers, name)(transformers.AlbertConfig(**keys, num_labels=labels))
    for parameter in theirs.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    theirs.save_pretrained(tmp_path)
    head = MODELS[name]
    with open_source(str(tmp_path)) as source:
        assert source.assets.config == config
        assert source.head == head
        model = heads.build_model(head, source.assets.config, source.shapes)
    report = albert_tf.load_weights(model, str(tmp_path))
    assert report.unexpected == ()
    # What their model has no parameters for, ours must report.
    without_pooler = name in (
        "AlbertForMaskedLM",
        "AlbertForTokenClassification",
        "AlbertForQuestionAnswering",
    )
    assert any("pooler" in missing for missing in report.missing) == without_pooler
    batch = random_batch(model, head)
    outputs = {key: value.numpy() for key, value in model(batch).items()}
    if name == "AlbertForMaskedLM":
        given = theirs.eval()(**_as_torch(batch)).logits.detach().numpy()
        assert_same_outputs(outputs, {"mlm_logits": given}, ["mlm_logits"])
    else:
        assert_same_outputs(outputs, transformers_outputs(str(tmp_path), head, batch))


def _as_torch(batch):
    names = {"input_ids": "input_ids", "attention_mask": "input_mask", "token_type_ids": "segment_ids"}
    return {theirs: torch.tensor(batch[ours].numpy().astype(np.int64)) for theirs, ours in names.items()}


@pytest.mark.parametrize(
    "change",
    [{}, GROUPED, {"embedding_size": 16}, {"hidden_act": "relu"}, {"cross_layer_sharing": "none"}],
    ids=["1x1", "2x2", "equal widths", "relu", "unshared"],
)
@pytest.mark.parametrize("head", [head for head in HEADS if head != "question_answering_v2"])
def test_a_model_of_ours_gives_the_same_there(head, change, tmp_path):
    config = tiny_config(**change)
    model = randomize(heads.build_model(head, config, HEADS[head]))
    huggingface.write_folder(str(tmp_path), Assets(config=config), weights_of(model), head)
    batch = random_batch(model, head)
    assert_same_outputs(model(batch), transformers_outputs(str(tmp_path), head, batch))


def test_masked_lm_of_theirs_loads_a_pretraining_model_of_ours(tmp_path):
    model = randomize(heads.build_model("pretraining", tiny_config(), {}))
    huggingface.write_folder(str(tmp_path), Assets(config=model.config), weights_of(model), "pretraining")
    theirs = transformers.AlbertForMaskedLM.from_pretrained(tmp_path).eval()
    batch = random_batch(model, "pretraining")
    given = theirs(**_as_torch(batch)).logits.detach().numpy()
    assert_same_outputs(model(batch), {"mlm_logits": given}, ["mlm_logits"])


def test_verifying_asks_transformers_too(tmp_path):
    start = original_of(tmp_path / "start", "classification")
    conversion = Conversion(input=start, output=str(tmp_path / "hf"), output_format="huggingface")
    text = check(conversion, convert(conversion))
    assert "transformers' AlbertForSequenceClassification" in text


def test_half_precision_weights_load_as_float32(tmp_path):
    import safetensors.torch

    model = randomize(heads.build_model("encoder", tiny_config(), {}))
    huggingface.write_folder(str(tmp_path), Assets(config=model.config), weights_of(model), "encoder")
    path = tmp_path / "model.safetensors"
    halves = {name: v.to(torch.bfloat16) for name, v in safetensors.torch.load_file(path).items()}
    safetensors.torch.save_file(halves, path)
    albert_tf.load_weights(model, str(tmp_path))
    expected = halves["albert.pooler.bias"].float().numpy()
    np.testing.assert_array_equal(model.pooler.bias, expected)


@pytest.mark.parametrize("kind", ["sentencepiece", "wordpiece"])
def test_their_tokenizer_gives_our_ids(kind, tmp_path):
    files = {"spm_model_file": SPM_MODEL_FILE} if kind == "sentencepiece" else {"vocab_file": VOCAB_FILE}
    assert_same_ids(tmp_path, TEXTS, files)


def assert_same_ids(folder: pathlib.Path, texts: list[str], files: dict[str, str]) -> None:
    ours = load_tokenizer(**files)
    model = heads.build_model("encoder", tiny_config(vocab_size=ours.vocab_size), {})
    huggingface.write_folder(str(folder), Assets(config=model.config, **files), weights_of(model), "encoder")
    theirs = transformers.AutoTokenizer.from_pretrained(folder)
    assert (theirs.pad_token_id, theirs.unk_token_id, theirs.mask_token_id) == (
        ours.pad_id,
        ours.unk_id,
        ours.mask_id,
    )
    for text in texts:
        ids = ours.encode(text)
        assert theirs(text)["input_ids"] == [ours.cls_id, *ids, ours.sep_id], text
    pair = theirs("the river", "the city")
    first, second = ours.encode("the river"), ours.encode("the city")
    assert pair["input_ids"] == [ours.cls_id, *first, ours.sep_id, *second, ours.sep_id]
    assert pair["token_type_ids"] == [0] * (len(first) + 2) + [1] * (len(second) + 1)


def test_their_tokenizer_gives_our_ids_on_real_text(shared_data, tmp_path):
    lines = (shared_data / "corpus" / "wiki_tiny.txt").read_text(encoding="utf-8").splitlines()[:3000]
    assert len(lines) > 1000
    assert_same_ids(tmp_path, lines, {"spm_model_file": str(shared_data / "spm" / "30k-clean.model")})


def test_real_weights_load_with_nothing_left_over_and_give_their_outputs(shared_data, tmp_path):
    import safetensors.numpy

    arrays = dict(np.load(shared_data / "plbert" / "albert_plbert_kokoro_dequant.npz"))
    safetensors.numpy.save_file(
        {n: np.ascontiguousarray(v) for n, v in arrays.items()}, tmp_path / "model.safetensors"
    )
    config = {"model_type": "albert", "vocab_size": 178, "embedding_size": 128, "hidden_size": 768}
    config |= {"num_hidden_layers": 12, "num_attention_heads": 12, "intermediate_size": 2048}
    config |= {"architectures": ["AlbertModel"], "hidden_act": "gelu_new"}
    (tmp_path / "config.json").write_text(json.dumps(config))
    with open_source(str(tmp_path)) as source:
        model = heads.build_model("encoder", source.assets.config, source.shapes)
    report = albert_tf.load_weights(model, str(tmp_path))
    assert len(report.loaded) == len(arrays) == 23
    assert report.unexpected == ()
    assert report.missing == ("bert/pooler/dense/kernel", "bert/pooler/dense/bias")
    # Their keys begin with the name of an attribute, which transformers does not know.
    theirs = transformers.AlbertModel(transformers.AlbertConfig(**config), add_pooling_layer=False)
    parameters = {name.removeprefix("bert."): torch.tensor(value) for name, value in arrays.items()}
    theirs.load_state_dict(parameters)
    batch = random_batch(model, "encoder")
    with torch.no_grad():
        expected = theirs.eval()(**_as_torch(batch)).last_hidden_state.numpy()
    # Twelve trained layers add up more rounding than two random ones.
    np.testing.assert_allclose(model(batch)["sequence_output"], expected, atol=5e-5)
