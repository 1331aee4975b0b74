"""The picture of the rooms, and the lists of the modules that a thing passes."""

import pathlib
import subprocess
import sys

import pytest

from docs.draw_architecture import House, draw, floors_of

ROOT = pathlib.Path(__file__).resolve().parents[2]


def test_a_room_stands_one_floor_above_the_highest_room_that_it_imports():
    arrows = {("top", "middle"), ("top", "ground"), ("middle", "ground")}
    assert floors_of({"top", "middle", "ground", "garden"}, arrows) == {
        "top": 3,
        "middle": 2,
        "ground": 1,
        "garden": 1,
    }


def test_rooms_in_a_circle_are_named():
    with pytest.raises(ValueError, match="in a circle: one, two"):
        floors_of({"one", "two", "ground"}, {("one", "two"), ("two", "one"), ("two", "ground")})


def test_the_picture_is_the_same_each_time_and_holds_what_it_was_drawn_from():
    house = House(
        {"top": 2, "ground": 1}, {"top": 150, "ground": 60}, {("top", "ground"): 3}, {"top": 2, "ground": 1}
    )
    picture = draw(house)
    assert picture == draw(house)
    assert house.numbers in picture
    assert "2 rooms, 2 floors, 1 arrows, 3 modules, 210 lines" in picture


def test_the_modules_that_a_line_of_text_passes_are_listed_in_their_order():
    command = [sys.executable, "docs/trace_data_flow.py", "line"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    heading, _, numbers, _, *rows = done.stdout.strip().splitlines()
    assert heading == "### A raw line of text, to a record"
    modules = [row.split("`")[1] for row in rows]
    assert numbers.startswith(f"{len(modules)} modules in ")
    assert len(set(modules)) == len(modules)
    assert modules.index("data_prep.create_pretraining_data") < modules.index("albert_tf.data.tfrecord")
