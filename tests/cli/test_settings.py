"""The numbers that weights keep have one owner: flags, tasks, models and exports agree on them."""

import dataclasses
import inspect

import pytest

from albert_tf.cli.settings import RaceSettings, SquadSettings, settings_from
from albert_tf.export.serving.served_answers import ServedQuestionAnswering
from albert_tf.models.question_answering import AlbertForQuestionAnsweringV2
from albert_tf.tasks.squad.decoding import find_answers
from albert_tf.tasks.squad.windows import window_features
from export_saved_model import SavedModelOptions
from run_race import RaceOptions
from run_squad import SquadOptions

NUMBERS = dataclasses.asdict(SquadSettings()) | dataclasses.asdict(RaceSettings())


def test_the_numbers_are_the_originals():
    squad = {"doc_stride": 128, "max_query_length": 64, "n_best_size": 20, "max_answer_length": 30}
    assert squad | {"start_n_top": 5, "end_n_top": 5, "max_qa_length": 128} == NUMBERS


@pytest.mark.parametrize("options", [SquadOptions, RaceOptions, SavedModelOptions])
def test_flags_say_the_default_of_the_settings(options):
    flags = {field.name: field for field in dataclasses.fields(options) if field.name in NUMBERS}
    assert flags
    for name, field in flags.items():
        assert field.default is None
        assert field.metadata["help"].endswith(f"(default: as trained, else {NUMBERS[name]})")


@pytest.mark.parametrize("function", [
    ServedQuestionAnswering, AlbertForQuestionAnsweringV2, find_answers, window_features,
])  # fmt: skip
def test_the_library_takes_the_default_of_the_settings(function):
    parameters = inspect.signature(function).parameters
    defaults = {name: parameters[name].default for name in NUMBERS if name in parameters}
    assert defaults
    assert defaults == {name: NUMBERS[name] for name in defaults}


def test_a_flag_overrides_what_weights_keep_and_both_override_the_default():
    options = SquadOptions(output_dir="run", predict_file="f", do_predict=True, doc_stride=3)
    kept = {"doc_stride": 4, "n_best_size": 5, "label_names": []}
    assert settings_from(SquadSettings, options, kept) == SquadSettings(doc_stride=3, n_best_size=5)
    assert settings_from(SquadSettings, options, None) == SquadSettings(doc_stride=3)
