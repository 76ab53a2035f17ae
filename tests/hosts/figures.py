"""Figures that tests measure, printed at the end of the session whether or not a test failed."""

_found: dict[str, list[object]] = {}


def add(title: str, figure: object) -> None:
    """`figure` appears in the summary under `title`, as it is then: it may still change."""
    _found.setdefault(title, []).append(figure)


def lines() -> list[str]:
    """The summary; empty when nothing was measured."""
    return [line for title, figures in _found.items() for line in (title, *(f"  {figure}" for figure in figures))]
