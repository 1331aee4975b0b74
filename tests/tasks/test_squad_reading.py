"""SQuAD files: read column by column, every fault named with the path to its field."""

import json
import subprocess
import sys
import warnings

import numpy as np
import pytest

from albert_tf.errors import InputError, InputWarning
from albert_tf.tasks.squad.reading import read_squad

DENVER = "The Denver Broncos beat the Panthers in Santa Clara."
RIVER = "The Amazon is a river. 🐟 live in it."


def answer(text, start=None):
    return {"text": text} if start is None else {"text": text, "answer_start": start}


def qa(identity="q1", question="Who won?", answers=({"text": "Denver Broncos", "answer_start": 4},), **more):
    made = {
        "id": identity,
        "question": question,
        "answers": None if answers is None else list(answers),
        **more,
    }
    return {key: value for key, value in made.items() if value is not None}


def paragraph(*qas, context=DENVER):
    return {"context": context, "qas": list(qas)}


def document(*paragraphs, **more):
    return {"data": [{"title": "Games", "paragraphs": list(paragraphs)}], **more}


def three_questions():
    """Of two articles, the last one impossible."""
    return {
        "version": "v2.0",
        "data": [
            {"title": "Empty", "paragraphs": []},
            {
                "title": "Games",
                "paragraphs": [
                    paragraph(qa("q1", " Who won? ", [answer("Denver Broncos", 4), answer("Broncos")])),
                    paragraph(qa("q2", "Where?", [answer("Santa Clara", 40)])),
                ],
            },
            {"paragraphs": [paragraph(qa("q3", "Which sea?", [], is_impossible=True), context=RIVER)]},
        ],
    }


@pytest.fixture
def read(tmp_path):
    """Reads what is given: bytes as they are, anything else as JSON."""

    def reading(content, *args, **kwargs):
        path = tmp_path / "squad.json"
        path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
        return read_squad(str(path), *args, **kwargs)

    return reading


@pytest.fixture
def error_of(read, tmp_path):
    """The message about what is given, without the path of the file, on one line."""

    def reading(content, *args, **kwargs):
        with pytest.raises(InputError) as error:
            read(content, *args, **kwargs)
        message = str(error.value)
        assert len(message.splitlines()) == 1
        assert message.startswith(f"{tmp_path}/squad.json")
        return message.removeprefix(f"{tmp_path}/squad.json").removeprefix(": ")

    return reading


def test_questions_are_read_in_order_with_their_contexts(read):
    found = read(three_questions())
    assert found.titles == ["Empty", "Games", ""]
    assert found.contexts == [DENVER, DENVER, RIVER]
    assert found.article_of.tolist() == [1, 1, 2]
    assert found.context_of.tolist() == [0, 1, 2]
    assert found.questions == [" Who won? ", "Where?", "Which sea?"]
    assert found.ids == ["q1", "q2", "q3"]
    assert found.answers == [("Denver Broncos", "Broncos"), ("Santa Clara",), ()]
    assert found.answer_starts == [(4, -1), (40,), ()]
    assert found.is_impossible.tolist() == [False, False, True]
    assert found.article_of.dtype == found.context_of.dtype == np.int32
    assert found.is_impossible.dtype == bool
    assert found.has_answers
    assert found.version == "2.0"
    assert len(found) == 3


def test_a_byte_order_mark_is_no_part_of_the_json(read):
    assert len(read(b"\xef\xbb\xbf" + json.dumps(three_questions()).encode())) == 3


@pytest.mark.parametrize(
    ("more", "question", "version"),
    [
        ({}, {}, "1.1"),
        ({"version": "1.1"}, {}, "1.1"),
        ({"version": ["2.0"]}, {}, "1.1"),
        ({"version": "v2.0"}, {}, "2.0"),
        ({"version": 2.0}, {}, "2.0"),
        ({"version": "2"}, {}, "2.0"),
        ({"version": 2}, {}, "2.0"),
        ({"version": "12.0"}, {}, "1.1"),
        ({"version": "1.1"}, {"is_impossible": 0}, "2.0"),
        ({"version": "1.1"}, {"is_impossible": False}, "2.0"),
        ({}, {"is_impossible": True}, "2.0"),
    ],
)
def test_the_version_is_found_from_the_file(read, more, question, version):
    assert read(document(paragraph(qa(**question)), **more)).version == version


def test_a_1_1_file_may_be_read_as_2_0(read):
    found = read(document(paragraph(qa()), version="1.1"), "2.0")
    assert found.version == "2.0"
    assert not found.is_impossible.any()


def test_a_2_0_file_whose_questions_all_have_answers_may_be_read_as_1_1(read):
    assert read(document(paragraph(qa(is_impossible=False)), version="v2.0"), "1.1").version == "1.1"


def test_impossible_questions_are_refused_as_1_1(error_of):
    message = 'questions without an answer: 1, first "q3"; version 1.1 has an answer to every question'
    assert error_of(three_questions(), "1.1").startswith(message)
    assert error_of(three_questions(), "1.1").endswith("--version=2.0)")
    assert "--version=2.0" in error_of(document(paragraph(qa(), qa("q2", answers=[]))))


def test_in_2_0_an_empty_list_of_answers_stands_for_impossible(read, error_of):
    found = read(document(paragraph(qa(), qa("q2", answers=[])), version="v2.0"))
    assert found.is_impossible.tolist() == [False, True]
    contradiction = document(paragraph(qa(), qa("q2", answers=[], is_impossible=False)))
    assert error_of(contradiction) == (
        "data[0].paragraphs[0].qas[1].answers: is empty, but is_impossible is false"
    )


def test_answers_of_an_impossible_question_are_ignored(read):
    plausible = qa("q2", is_impossible=True, plausible_answers=[answer("Panthers", 28)])
    found = read(document(paragraph(qa(), plausible, qa("q3", answers=None, is_impossible=True))))
    assert found.is_impossible.tolist() == [False, True, True]
    assert found.answers[1:] == [(), ()]
    assert found.answer_starts[1:] == [(), ()]


@pytest.mark.parametrize("answers", [None, []])
@pytest.mark.parametrize("version", ["1.1", "2.0"])
def test_a_file_for_prediction_needs_no_answers(read, error_of, answers, version):
    content = document(paragraph(qa("q1", answers=answers), qa("q2", answers=answers)))
    found = read(content, version)
    assert not found.has_answers
    assert not found.is_impossible.any()
    assert found.answers == [(), ()]
    assert error_of(content, version, training=True) == " has no answers; training needs them"


def test_answers_of_some_questions_only_are_refused(error_of):
    content = document(paragraph(qa()), paragraph(qa("q2", answers=None)))
    assert error_of(content) == (
        "data[0].paragraphs[1].qas[0].answers: is missing, but other questions have it"
    )


# ------------------------------------------------------------------------------------ where answers stand


def test_only_training_checks_starts_and_only_of_the_first_answer(read):
    wrong = qa(answers=[answer("Denver Broncos", 5), answer("Broncos", "11")])
    assert read(document(paragraph(wrong))).answer_starts == [(5, 11)]
    right = qa(answers=[answer("Denver Broncos", 4), answer("Panthers"), answer("Broncos", -7)])
    assert read(document(paragraph(right)), training=True).answer_starts == [(4, -1, -7)]


def test_starts_count_characters_and_keep_white_space(read):
    content = document(paragraph(qa(answers=[answer(" live ", 24)]), context=RIVER))
    assert read(content, training=True).answers == [(" live ",)]


@pytest.mark.parametrize(
    ("text", "start", "stands"),
    [
        ("Denver Broncos", 5, '"enver Broncos "'),
        ("Clara.", -6, "nothing"),
        ("Clara.", 10**30, "nothing"),
        ("Clara. ", 46, '"Clara."'),
        (" ", 3, '" "'),
        ("", 3, "nothing"),
    ],
)
def test_a_misplaced_answer_is_shown_with_what_stands_there(error_of, text, start, stands):
    questions = [qa("q1"), qa("q2", answers=[answer(text, start)]), qa("q3", answers=[answer("x", 0)])]
    message = error_of(document(paragraph(*questions)), training=True)
    assert message == (
        "the answers of 2 of 3 questions do not stand where answer_start says; "
        f'the first is "q2" with the answer "{text}", but at character {start} stands {stands}; '
        "--skip_misplaced_answers leaves such questions out"
    )


def test_long_texts_are_shown_short_and_on_one_line(error_of):
    content = document(paragraph(qa(answers=[answer("long\n" * 1000, 0)])))
    assert len(error_of(content, training=True)) < 300


def test_misplaced_answers_are_left_out_on_request(read):
    content = three_questions()
    content["data"][1]["paragraphs"][0]["qas"][0]["answers"][0]["answer_start"] = 7
    with pytest.warns(InputWarning, match=r"squad.json: 1 of 3 questions are left out") as warned:
        found = read(content, training=True, skip_misplaced_answers=True)
    assert warned[0].filename == __file__
    assert found.ids == ["q2", "q3"]
    assert found.titles == ["Games", ""]
    assert found.digest != read(content).digest


def test_skipping_changes_nothing_where_all_answers_fit(read):
    content = three_questions()
    plain = read(content)
    skipped = read(content, training=True, skip_misplaced_answers=True)
    assert skipped.digest == plain.digest
    assert len(skipped) == 3


def test_skipping_must_leave_a_question(error_of):
    content = document(paragraph(qa(answers=[answer("Denver", 0)])))
    message = error_of(content, training=True, skip_misplaced_answers=True)
    assert message.startswith("the answers of 1 of 1 questions do not stand")
    assert "--skip" not in message


@pytest.mark.parametrize(
    ("start", "message"),
    [
        (None, "is missing"),
        ("4th", "a whole number is needed, not a text"),
        (4.5, "a whole number is needed"),
    ],
)
def test_training_needs_starts(read, error_of, start, message):
    content = document(paragraph(qa(answers=[answer("Denver Broncos", start)])))
    read(content)
    place = "data[0].paragraphs[0].qas[0].answers[0].answer_start: "
    assert error_of(content, training=True).startswith(place + message)


CMRC = [
    {
        "context_id": "TRIAL_0",
        "context_text": "工商协进会报告，12月消费者信心上升到78.1。",
        "title": "傻钱策略",
        "qas": [
            {"query_id": "Q0", "query_text": "信心指数是多少？", "answers": ["78.1", "到78.1"]},
            {"query_id": "Q1", "query_text": "", "answers": ["工商协进会"]},
        ],
    }
]


@pytest.mark.parametrize("content", [CMRC, {"version": "1.0", "data": CMRC}])
def test_cmrcs_own_form_is_read(read, content):
    with pytest.warns(InputWarning, match="1 of 2 questions are blank and are read as they are"):
        questions = read(content, training=True)
    assert (questions.version, questions.segmentation, questions.titles) == ("1.1", "character", ["傻钱策略"])
    assert questions.ids == ["Q0", "Q1"]
    assert questions.answers == [("78.1", "到78.1"), ("工商协进会",)]
    assert questions.answer_starts == [(19, 18), (0,)]


def test_drcds_form_is_squads(read):
    asked = {
        "id": "2128-2-1",
        "question": "新教?",
        "answers": [{"id": "1", "text": "因信稱義", "answer_start": 2}],
    }
    content = {
        "version": "1.3",
        "data": [{"id": "2128", "paragraphs": [{"id": "2128-2", "context": "強調因信稱義", "qas": [asked]}]}],
    }
    questions = read(content, training=True)
    assert (questions.version, questions.segmentation) == ("1.1", "character")
    assert read(content, segmentation="space").segmentation == "space"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"answers": [{"text": "x"}]}, "data[0].qas[0].answers 0: a text is needed, not an object"),
        ({"answers": "x"}, "data[0].qas[0].answers: a list is needed, not a text"),
        ({"query_text": None}, "data[0].qas[0].query_text: a text is needed, not null"),
    ],
)
def test_a_bad_field_of_cmrcs_form_is_named(error_of, changes, message):
    assert error_of([{"context_text": "x", "qas": [CMRC[0]["qas"][0] | changes]}]) == message


def test_an_answer_that_cmrcs_context_lacks_is_named(error_of):
    asked = {"context_text": "深圳", "qas": [{"query_id": "Q", "query_text": "?", "answers": ["上海"]}]}
    assert "the answers of 1 of 1 questions do not stand" in error_of([asked], training=True)


# ------------------------------------------------------------------------------------------- bad files


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'{"data": [\n{"title" 7}]}', " is not JSON: Expecting ':' delimiter: line 2 column 10"),
        (b"", " is not JSON: Expecting value: line 1 column 1"),
        (b'{"data": "caf\xe9"}', " is not UTF-8"),
        (b"[" * 100_000, " is not JSON that can be read: too deep"),
        (b'{"data": ' + b"9" * 5000 + b"}", " is not JSON that can be read: too deep, or a number too long"),
        ([1], ' is a list; SQuAD is {"data": [{"paragraphs": '),
        ("data", " is a text; SQuAD is "),
        (None, " is null; SQuAD is "),
        ({"paragraphs": []}, ' has no "data"; SQuAD is '),
        ({"data": {}}, "data: a list is needed, not an object"),
        ({"data": []}, " holds no questions"),
        (document(paragraph()), " holds no questions"),
        ({"data": [[]]}, "data[0]: an object is needed, not a list"),
        ({"data": [{"title": 3, "paragraphs": []}]}, "data[0].title: a text is needed, not a whole number"),
        ({"data": [{"title": "x"}]}, "data[0].paragraphs: is missing"),
        (document(paragraph(qa()), None), "data[0].paragraphs[1]: an object is needed, not null"),
    ],
)
def test_a_file_of_another_shape_is_named(error_of, content, message):
    assert error_of(content).startswith(message)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"identity": None}, "id: is missing"),
        ({"identity": 1.7}, "id: a text is needed, not a number"),
        ({"identity": True}, "id: a text is needed, not true or false"),
        ({"identity": " "}, "id: is empty"),
        ({"question": None}, "question: is missing"),
        ({"question": 1.5}, "question: a text is needed, not a number"),
        ({"question": 7}, "question: a text is needed, not a whole number"),
        ({"question": "half: \ud800"}, r"question: '\ud800' alone is no character"),
        ({"is_impossible": "no"}, "is_impossible: true or false is needed, not a text"),
        ({"is_impossible": 2}, "is_impossible: true or false is needed, not a whole number"),
        ({"answers": ["Denver"]}, "answers[0]: an object is needed, not a text"),
        ({"answers": [answer("Denver"), {}]}, "answers[1].text: is missing"),
        ({"answers": [answer(True)]}, "answers[0].text: a text is needed, not true or false"),
        ({"answers": [answer("\udfff")]}, r"answers[0].text: '\udfff' alone is no character"),
    ],
)
def test_a_bad_field_of_a_question_is_named(error_of, changes, message):
    content = document(paragraph(qa("q0")), paragraph(qa("q1"), qa(**{"identity": "q2", **changes})))
    assert error_of(content) == f"data[0].paragraphs[1].qas[1].{message}"


def test_answers_must_be_a_list(error_of):
    content = document(paragraph({**qa(), "answers": answer("Denver", 4)}))
    assert error_of(content) == "data[0].paragraphs[0].qas[0].answers: a list is needed, not an object"


@pytest.mark.parametrize(
    ("context", "message"),
    [(" \n\xa0", "is empty"), (["x"], "a text is needed, not a list"), ("\udc80", "'\\udc80' alone is no")],
)
def test_a_bad_context_is_named(error_of, context, message):
    assert error_of(document(paragraph(qa(), context=context))).startswith(
        f"data[0].paragraphs[0].context: {message}"
    )


def test_both_places_of_a_repeated_id_are_named(error_of):
    content = document(paragraph(qa("x"), qa("y")), paragraph(qa("y")))
    assert error_of(content) == (
        'data[0].paragraphs[1].qas[0].id: "y" is the id of data[0].paragraphs[0].qas[1] too'
    )


def test_ids_that_come_twice_are_trained_on_with_a_warning(read, tmp_path):
    content = document(paragraph(qa("x"), qa("y")), paragraph(qa("y"), qa("x")))
    with pytest.warns(InputWarning) as warned:
        found = read(content, training=True)
    assert found.ids == ["x", "y", "y", "x"]
    assert [str(warning.message) for warning in warned] == [
        f'{tmp_path}/squad.json: data[0].paragraphs[1].qas[0].id: "y" is the id of '
        "data[0].paragraphs[0].qas[1] too; 2 of 4 questions have the id of another question, "
        "and are trained on"
    ]
    assert warned[0].filename == __file__


# --------------------------------------------------------------------------- what annotation tools write


def test_what_annotation_tools_write_is_read_where_its_meaning_is_clear(read):
    right = {"text": "Denver Broncos"}
    questions = [
        {**qa(), "id": 17, "is_impossible": None, "answers": [right | {"answer_start": "4"}]},
        {**qa(), "id": 0, "is_impossible": 0, "answers": [right | {"answer_start": 4.0}]},
        {**qa(), "id": "y", "is_impossible": 1, "answers": None},
    ]
    content = document(paragraph(context=""), paragraph(*questions), paragraph(context=" "), version="2")
    content["data"][0]["title"] = None
    for training in (False, True):
        found = read(content, training=training)
        assert found.ids == ["17", "0", "y"]
        assert found.titles == [""]
        assert found.contexts == [DENVER]
        assert found.answer_starts == [(4,), (4,), ()]
        assert found.is_impossible.tolist() == [False, False, True]
        assert found.version == "2.0"


def test_an_id_is_the_same_as_a_number_and_as_a_text(error_of):
    content = document(paragraph({**qa(), "id": 17}, qa("17")))
    assert error_of(content).endswith('"17" is the id of data[0].paragraphs[0].qas[0] too')


@pytest.mark.parametrize(
    ("text", "context", "shown"),
    [
        (
            "New York",
            "New\xa0York is big.",
            r'the answer "New York", but at character 0 stands "New\u00a0York"',
        ),
        (
            "caf\xe9 noir",
            "cafe\u0301 noir, hot",
            r'answer "caf\u00e9 noir", but at character 0 stands "cafe\u0301 noi"',
        ),
        ("\ufb01sh", "fish and", r'the answer "\ufb01sh", but at character 0 stands "fis"'),
        ("a\u200bb", "ab here", r'the answer "a\u200bb", but at character 0 stands "ab "'),
        ("été", "Été 1", 'the answer "été", but at character 0 stands "Été"'),
        (
            "x" * 60 + " y" * 20,
            "x" * 60 + "\xa0y" * 20,
            '"…' + "x" * 20 + " y" * 9 + ' …", but at character 0 stands "…' + "x" * 20 + r"\u00a0y" * 9,
        ),
    ],
)
def test_answers_that_look_like_what_stands_there_are_shown_by_their_codes(error_of, text, context, shown):
    content = document(paragraph(qa(answers=[answer(text, 0)]), context=context))
    message = error_of(content, training=True)
    assert shown.replace("…", r"\u2026") in message or shown in message


def test_a_file_that_cannot_be_opened_is_named(tmp_path):
    with pytest.raises(InputError, match=r"none.json cannot be read: No such file"):
        read_squad(str(tmp_path / "none.json"))
    with pytest.raises(InputError, match="cannot be read: Is a directory"):
        read_squad(str(tmp_path))


# ------------------------------------------------------------------------------------ select, digest


def test_select_keeps_what_is_referenced(read):
    found = read(three_questions())
    last = found.select(np.array([False, True, True]))
    assert last.ids == ["q2", "q3"]
    assert last.contexts == [DENVER, RIVER]
    assert last.titles == ["Games", ""]
    assert last.context_of.tolist() == last.article_of.tolist() == [0, 1]
    assert last.context_of.dtype == last.article_of.dtype == np.int32
    assert last.is_impossible.tolist() == [False, True]
    assert last.answers == [("Santa Clara",), ()]
    turned = found.select([2, 0])
    assert turned.ids == ["q3", "q1"]
    assert [turned.contexts[i] for i in turned.context_of] == [RIVER, DENVER]
    assert turned.questions == ["Which sea?", " Who won? "]
    assert turned.answer_starts == [(), (4, -1)]


def test_digests_differ_with_content_version_and_choice(read):
    content = document(paragraph(qa("q1"), qa("q2")))
    found = read(content)
    digests = [
        found.digest,
        read(content, "2.0").digest,
        read(document(paragraph(qa("q1"), qa("q3")))).digest,
        found.select([0]).digest,
        found.select([1]).digest,
        found.select([1, 0]).digest,
        found.select([1]).select([0]).digest,
    ]
    assert len(set(digests)) == len(digests)
    assert read(content, "1.1").digest == found.digest
    assert found.select([1]).digest == found.select(np.array([False, True])).digest


def test_reading_and_scoring_need_no_tensorflow():
    code = (
        "import sys; from albert_tf.tasks.squad import reading, scoring\n"
        "assert 'tensorflow' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


# ------------------------------------------------------------------------------------ the published files


@pytest.mark.parametrize(
    ("name", "version", "questions", "answers", "impossible"),
    [
        ("dev-v1.1.json", "1.1", 10570, 34726, 0),
        ("dev-v2.0.json", "2.0", 11873, 20302, 5945),
        ("train-v1.1.head12.json", "1.1", 4370, 4370, 0),
    ],
)
def test_the_published_files(shared_data, name, version, questions, answers, impossible):
    path = str(shared_data / "squad" / name)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = read_squad(path, training=True)
    assert found.version == version
    assert len(found) == questions
    assert sum(map(len, found.answers)) == answers
    assert found.is_impossible.sum() == impossible
    assert found.has_answers
    if impossible:
        with pytest.raises(InputError, match=r"questions without an answer: 5945"):
            read_squad(path, "1.1")
