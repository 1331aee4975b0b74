"""Scripts as a user calls them, in this process."""

from collections.abc import Callable, Mapping


def run_script(main: Callable[..., int], flags: Mapping[str, object], *more: str) -> int:
    """Runs a script's `main` with flags by name, those that are None left out; returns its status."""
    given = (f"--{name}={value}" for name, value in flags.items() if value is not None)
    return main([f"{main.__module__}.py", *given, *more])


def facts_in(printed: str) -> dict[str, str]:
    """What the summaries of a run say, by name."""
    pairs = (line.split("  ", 1) for line in printed.splitlines() if "  " in line)
    return {name: fact.strip() for name, fact in pairs}


def refused(main: Callable[..., int], capsys, status: int, expected_status: int = 1) -> str:
    """The one line on standard error after what a run that got going says of itself."""
    assert status == expected_status
    printed = capsys.readouterr().err
    assert "Traceback" not in printed
    last = printed.splitlines()[-1]
    assert last.startswith(f"{main.__module__}.py: error: ")
    return last
