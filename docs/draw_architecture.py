#!/usr/bin/env python3
"""Draws the rooms of the house and their arrows: docs/architecture.svg.

    python docs/draw_architecture.py           # draws
    python docs/draw_architecture.py --check   # says whether the picture is current, and draws nothing

A room is a folder of modules, or a module that lies directly in `albert_tf`. All scripts are one room. An
arrow says that a module of one room imports a module of another one. A room stands one floor above the
highest room that it imports, so that every arrow points down; a circle of rooms is an error. The picture
holds the graph that it was drawn from, and --check compares it, because another matplotlib draws other bytes.
The numbers of lines are those of the day: --check does not compare them.
"""

import ast
import collections
import io
import json
import pathlib
import re
import sys
from typing import NamedTuple

import grimp

ROOT = pathlib.Path(__file__).resolve().parents[1]
PICTURE = ROOT / "docs" / "architecture.svg"
SCRIPTS = "scripts"
_NUMBERS = re.compile("<!-- drawn from: (.*) -->")


class House(NamedTuple):
    """What is drawn.

    Attributes:
      modules: room -> number of its modules.
      lines: room -> number of their lines.
      arrows: (importing room, imported room) -> number of imports between their modules.
      floors: room -> floor; 1 is the ground.
    """

    modules: dict[str, int]
    lines: dict[str, int]
    arrows: dict[tuple[str, str], int]
    floors: dict[str, int]

    @property
    def summary(self) -> str:
        """One line of numbers."""
        return (
            f"{len(self.modules)} rooms, {max(self.floors.values())} floors, {len(self.arrows)} arrows, "
            f"{sum(self.modules.values())} modules, {sum(self.lines.values()):,} lines"
        )

    @property
    def numbers(self) -> str:
        """What `--check` compares: rooms with floors and modules, and arrows. Lines change too often."""
        rooms = {room: [self.floors[room], self.modules[room]] for room in sorted(self.modules)}
        arrows = sorted(f"{above} {below}" for above, below in self.arrows)
        return json.dumps({"rooms": rooms, "arrows": arrows})


def survey() -> House:
    """Counts rooms, floors and arrows.

    Raises:
      ValueError: rooms import each other in a circle.
    """
    sys.path.insert(0, str(ROOT))
    graph = grimp.build_graph("albert_tf", "data_prep", exclude_type_checking_imports=True, cache_dir=None)
    imports = {module: graph.find_modules_directly_imported_by(module) for module in graph.modules}
    files = {module: _file_of(module) for module in graph.modules}
    for path in sorted(ROOT.glob("*.py")):
        files[path.stem] = path
        imports[path.stem] = {name for name in _imported_by(path) if name in graph.modules}
    modules: collections.Counter[str] = collections.Counter()
    lines: collections.Counter[str] = collections.Counter()
    arrows: collections.Counter[tuple[str, str]] = collections.Counter()
    for module, path in files.items():
        if (count := len(path.read_text(encoding="utf-8").splitlines())) and module != "albert_tf":
            room = _room_of(module)
            modules[room] += 1
            lines[room] += count
            others = [_room_of(other) for other in imports[module] if other != "albert_tf"]
            arrows.update((room, other) for other in others if other != room)
    return House(dict(modules), dict(lines), dict(arrows), floors_of(set(modules), set(arrows)))


def _file_of(module: str) -> pathlib.Path:
    path = ROOT.joinpath(*module.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def _room_of(module: str) -> str:
    if module.partition(".")[0] not in ("albert_tf", "data_prep"):
        return SCRIPTS
    folder = _file_of(module).parent
    room = folder.relative_to(ROOT / "albert_tf") if folder.is_relative_to(ROOT / "albert_tf") else None
    if room is None:
        return folder.name
    return module.rpartition(".")[2] if room == pathlib.Path() else room.as_posix()


def _imported_by(path: pathlib.Path) -> set[str]:
    """The modules that a script imports, and what they may be of `from package import module`."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return names


def floors_of(rooms: set[str], arrows: set[tuple[str, str]]) -> dict[str, int]:
    """The floor of each room, one above the highest room that it imports.

    Raises:
      ValueError: rooms import each other in a circle.
    """
    below: dict[str, set[str]] = {room: {b for a, b in arrows if a == room} for room in rooms}
    floors: dict[str, int] = {}
    while len(floors) < len(rooms):
        ready = [room for room in rooms if room not in floors and below[room] <= floors.keys()]
        if not ready:
            raise ValueError(
                f"rooms import each other in a circle: {', '.join(sorted(rooms - floors.keys()))}"
            )
        floors |= {room: 1 + max((floors[b] for b in below[room]), default=0) for room in ready}
    return floors


def _implied(arrows: set[tuple[str, str]]) -> set[tuple[str, str]]:
    """The arrows of which the same rooms are also linked by way of a third."""
    reached = set(arrows)
    while more := {(a, d) for a, b in reached for c, d in arrows if b == c} - reached:
        reached |= more
    return {(a, c) for a, c in arrows if any((a, b) in arrows and (b, c) in reached for _, b in arrows)}


def draw(house: House) -> str:
    """The picture as SVG; the same bytes for the same house and matplotlib."""
    from matplotlib import style
    from matplotlib.figure import Figure
    from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

    height = max(house.floors.values())
    places = {}
    for floor in range(1, height + 1):
        rooms = sorted(room for room in house.floors if house.floors[room] == floor)
        for i, room in enumerate(rooms):
            places[room] = (12 * (i + 0.5) / len(rooms), 1.3 * floor)
    with style.context(["default", {"svg.hashsalt": "albert_tf", "svg.fonttype": "none", "font.size": 8}]):
        figure = Figure((12, 1.15 * height + 0.6), layout="constrained")
        axes = figure.subplots()
        axes.set(xlim=(0, 12), ylim=(0.7, 1.3 * height + 0.6))
        axes.axis("off")
        axes.set_title(house.summary, fontsize=10)
        implied = _implied(set(house.arrows))
        for above, below in sorted(house.arrows, key=lambda arrow: (arrow not in implied, arrow)):
            (x, y), (x_below, y_below) = places[above], places[below]
            is_implied = (above, below) in implied
            arrow = FancyArrowPatch(
                (x, y - 0.26),
                (x_below, y_below + 0.26),
                arrowstyle="-|>",
                mutation_scale=6 if is_implied else 9,
                color="#c3cedd" if is_implied else "#30558c",
                linewidth=0.5 if is_implied else 1.0,
            )
            axes.add_patch(arrow)
        for room, (x, y) in sorted(places.items()):
            box = FancyBboxPatch(
                (x - 0.72, y - 0.2), 1.44, 0.4, boxstyle="round,pad=0.06", fc="#eef3fa", ec="#30558c", lw=0.9
            )
            axes.add_patch(box)
            count = house.modules[room]
            text = f"{count} module{'s' * (count != 1)}, {house.lines[room]:,} lines"
            axes.text(x, y + 0.07, room, ha="center", va="center", weight="bold")
            axes.text(x, y - 0.11, text, ha="center", va="center", fontsize=6.5)
        drawing = io.StringIO()
        no_metadata = dict.fromkeys(("Creator", "Date", "Format", "Type"))
        figure.savefig(drawing, format="svg", metadata=no_metadata)
    head, start, rest = drawing.getvalue().partition("<svg")
    rest = re.sub(r"[ \t]+$", "", rest, flags=re.MULTILINE)
    return f"{head}<!-- drawn from: {house.numbers} -->\n{start}{rest}"


def is_current(house: House) -> bool:
    """Whether the picture was drawn from such a house."""
    found = _NUMBERS.search(PICTURE.read_text(encoding="utf-8")) if PICTURE.exists() else None
    return found is not None and found[1] == house.numbers


def main(arguments: list[str]) -> str | None:
    """Draws or checks; returns what is wrong."""
    house = survey()
    print(house.summary)
    if arguments == ["--check"]:
        return (
            None if is_current(house) else f"{PICTURE.name} is not current: make architecture draws it anew"
        )
    PICTURE.write_text(draw(house), encoding="utf-8")
    return None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
