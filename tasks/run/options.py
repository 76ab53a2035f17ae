"""The options of pyinfra's command line in this run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

_options: dict[str, Any] = {}


def remember_options() -> None:
    """Keep the options of pyinfra's command line: click knows them in the main greenlet only, hosts run in others."""
    context = click.get_current_context(silent=True)
    _options.update(context.params if context else {})


def options() -> Mapping[str, Any]:
    """The options of pyinfra's command line in this run; empty when pyinfra is used as a library."""
    return _options


def only_plans() -> bool:
    """Whether this run shows its plan and ends: --dry, or --json without -y."""
    return bool(_options.get("dry") or (_options.get("json_output") and not _options.get("yes")))
