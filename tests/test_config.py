"""Configs: the released sizes, parameter counts, round trips, and what is refused."""

import dataclasses
import json

import pytest

from albert_tf.config import PRESETS, AlbertConfig
from albert_tf.errors import InputError, InputWarning
from albert_tf.models.pretraining import AlbertForPreTraining
from tests.support.goldens import GOLDENS

TINY = GOLDENS["encoder_shared"]["config"]


def base(**changes) -> AlbertConfig:
    return dataclasses.replace(AlbertConfig.from_preset("base_v2"), **changes)


def millions(config: AlbertConfig) -> float:
    counts = config.parameter_count()
    return round((counts["embeddings"] + counts["encoder"] + counts["pooler"]) / 1e6, 1)


@pytest.mark.parametrize(("size", "with_pooler", "encoder_only", "with_heads"), [
    ("base", 11_683_584, 11_092_992, 11_813_810),
    ("large", 17_683_968, 16_634_368, 17_847_474),
    ("xlarge", 58_724_864, 54_528_512, 59_021_490),
    ("xxlarge", 222_595_584, 205_814_272, 223_158_450),
])  # fmt: skip
def test_released_sizes_have_their_parameters(size, with_pooler, encoder_only, with_heads):
    counts = AlbertConfig.from_preset(f"{size}_v2").parameter_count()
    assert counts["embeddings"] + counts["encoder"] == encoder_only
    assert encoder_only + counts["pooler"] == with_pooler
    assert sum(counts.values()) == with_heads


@pytest.mark.parametrize(("embedding_size", "unshared", "shared"), [
    (64, 87.6, 9.7), (128, 89.7, 11.7), (256, 93.7, 15.7), (768, 109.1, 31.1),
])  # fmt: skip
def test_embedding_sizes_of_the_papers_table_3(embedding_size, unshared, shared):
    assert millions(base(embedding_size=embedding_size)) == shared
    assert millions(base(embedding_size=embedding_size, cross_layer_sharing="none")) == unshared
    assert millions(base(embedding_size=embedding_size, num_hidden_groups=12)) == unshared


@pytest.mark.parametrize(("embedding_size", "sharing", "expected"), [
    (768, "attention", 83.1), (768, "ffn", 57.1), (128, "attention", 63.6), (128, "ffn", 37.7),
])  # fmt: skip
def test_sharing_modes_of_the_papers_table_4(embedding_size, sharing, expected):
    assert millions(base(embedding_size=embedding_size, cross_layer_sharing=sharing)) == expected


@pytest.mark.parametrize(("hidden_size", "expected"), [
    (1024, 17.7), (2048, 58.7), (4096, 222.6), (6144, 495.5),
])  # fmt: skip
def test_widths_of_the_papers_tables_11_to_13(hidden_size, expected):
    for layers in (1, 3, 48):
        config = base(
            hidden_size=hidden_size,
            intermediate_size=4 * hidden_size,
            num_attention_heads=hidden_size // 64,
            num_hidden_layers=layers,
        )
        assert millions(config) == expected


@pytest.mark.parametrize("changes", [
    {},
    {"embedding_size": 6},
    {"num_hidden_groups": 2, "inner_group_num": 2},
    {"cross_layer_sharing": "attention"},
    {"cross_layer_sharing": "ffn", "inner_group_num": 2},
    {"cross_layer_sharing": "none"},
])  # fmt: skip
def test_parameter_count_is_what_the_model_has(changes):
    config = AlbertConfig.from_dict({**TINY, **changes})
    model = AlbertForPreTraining(config)
    assert model.count_params() == sum(config.parameter_count().values())


def test_groups_are_cut_as_in_the_original():
    config = base(num_hidden_layers=12, num_hidden_groups=5)
    assert [config.attention_group(i) for i in range(12)] == [0, 0, 0, 1, 1, 2, 2, 2, 3, 3, 4, 4]
    assert [config.ffn_group(i) for i in range(12)] == [config.attention_group(i) for i in range(12)]


@pytest.mark.parametrize(("size", "published"), [("base", 108), ("large", 334)])
def test_the_models_of_comparison_have_the_parameters_of_the_papers_table_1(size, published):
    counts = AlbertConfig.from_preset(f"bert_{size}").parameter_count()
    assert round((counts["embeddings"] + counts["encoder"]) / 1e6) == published


def test_presets_follow_the_released_files():
    assert len(PRESETS) == 14
    assert PRESETS["base_v1"].hidden_dropout_prob == 0.1
    assert PRESETS["xxlarge_v1"].hidden_dropout_prob == 0.0
    assert PRESETS["xlarge_v2"].num_attention_heads == 16
    assert PRESETS["xxlarge_zh"].num_attention_heads == 16
    assert PRESETS["xxlarge_v2"].num_attention_heads == 64
    assert PRESETS["large_zh"].hidden_act == "relu"
    assert PRESETS["large_zh"].vocab_size == 21128
    with pytest.raises(InputError, match="base_v1"):
        AlbertConfig.from_preset("tiny")
    with pytest.raises(InputError, match="vocab_size"):
        AlbertConfig.from_preset("base_v2", vocab_size=0)


def test_released_file_goes_in_and_out_with_its_dead_keys(tmp_path):
    released = {**TINY, "down_scale_factor": 1, "net_structure_type": 0, "layers_to_keep": [], "gap_size": 0}
    path = tmp_path / "albert_config.json"
    path.write_text(json.dumps(released))
    config = AlbertConfig.from_json_file(str(path))
    config.to_json_file(str(path))
    assert json.loads(path.read_text()) == released
    assert AlbertConfig.from_json_file(str(path)) == config


def test_unknown_keys_are_named_in_a_warning():
    with pytest.warns(UserWarning, match="hidden_layer_count, pooler_fc_size"):
        AlbertConfig.from_dict({**TINY, "hidden_layer_count": 3, "pooler_fc_size": 7})


def test_missing_sizes_are_an_error_not_an_xxlarge():
    bert = {k: v for k, v in TINY.items() if k not in ("embedding_size", "num_hidden_layers")}
    with pytest.raises(InputError, match="missing embedding_size, num_hidden_layers"):
        AlbertConfig.from_dict(bert)


@pytest.mark.parametrize(("changes", "message"), [
    ({"num_attention_heads": 4}, "hidden_size 6 is not divisible by num_attention_heads 4"),
    ({"vocab_size": 0}, "vocab_size must be a whole number"),
    ({"hidden_size": "768"}, "hidden_size must be a whole number"),
    ({"num_hidden_layers": 2.5}, "num_hidden_layers must be a whole number"),
    ({"inner_group_num": True}, "inner_group_num must be a whole number"),
    ({"hidden_dropout_prob": 1.0}, "hidden_dropout_prob must be at least 0 and below 1"),
    ({"attention_probs_dropout_prob": "0.1"}, "attention_probs_dropout_prob must be a number"),
    ({"initializer_range": 0}, "initializer_range must be above 0"),
    ({"hidden_act": "swish"}, "hidden_act must be one of gelu, relu, tanh, linear, not 'swish'"),
    ({"cross_layer_sharing": "some"}, "cross_layer_sharing must be one of"),
    ({"num_hidden_groups": 4}, "num_hidden_groups 4 is more than num_hidden_layers 3"),
    ({"vocab_size": 10**30}, "vocab_size must be at most 16,777,216, not a number of 100 bits"),
    ({"hidden_size": 2**40}, "hidden_size must be at most 16,777,216, not 1099511627776"),
    ({"num_hidden_layers": 10**9}, "num_hidden_layers must be at most 1,000, not 1000000000"),
    ({"inner_group_num": 1001}, "inner_group_num must be at most 1,000"),
    ({"hidden_size": 6 * 10**6}, "parameters are more than 34,359,738,368: look at the sizes"),
    ({"initializer_range": 10**400}, "initializer_range must be a number, not a number of 1329 bits"),
    ({"initializer_range": float("nan")}, "initializer_range must be a number, not nan"),
    ({"hidden_act": ["gelu"] * 1000}, r"not \['gelu'.{53}\.\.\.$"),
])  # fmt: skip
def test_impossible_values_are_named(changes, message):
    with pytest.raises(InputError, match=message):
        AlbertConfig.from_dict({**TINY, **changes})


def test_a_key_without_meaning_is_carried_only_if_it_is_plain():
    plain = {"gap_size": 0, "layers_to_keep": [1, 2]}
    assert AlbertConfig.from_dict(TINY | plain).carried == plain
    with pytest.warns(InputWarning, match="without meaning are ignored: gap_size, layers_to_keep"):
        config = AlbertConfig.from_dict(TINY | {"gap_size": {}, "layers_to_keep": [[1]]})
    assert config.carried == {}


def test_a_byte_order_mark_is_no_part_of_a_file(tmp_path):
    path = tmp_path / "albert_config.json"
    path.write_text(json.dumps(TINY), encoding="utf-8-sig")
    assert AlbertConfig.from_json_file(str(path)) == AlbertConfig.from_dict(TINY)


@pytest.mark.parametrize(("content", "message"), [
    ("{", "is not JSON"), ("[1]", "expected `object`"), ("{}", "missing vocab_size"),
    ('{"a": ' * 100_000, "too deep"), ("[" * 100_000, "too deep"), ('{"a": ' + "1" * 5000 + "}", "too long"),
])  # fmt: skip
def test_bad_files_are_named(tmp_path, content, message):
    path = tmp_path / "albert_config.json"
    path.write_text(content)
    with pytest.raises(InputError, match=f"albert_config.json.*{message}"):
        AlbertConfig.from_json_file(str(path))
    with pytest.raises(InputError, match="does not exist"):
        AlbertConfig.from_json_file(str(tmp_path / "none.json"))
    with pytest.raises(InputError, match="is a folder"):
        AlbertConfig.from_json_file(str(tmp_path))
