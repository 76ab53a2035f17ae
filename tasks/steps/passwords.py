"""Passwords: those made up in this run are saved on the controller before a host learns their hashes.

So are steps of a rotation: what the file says next to what a server takes is what the next deploy goes on from.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from pyinfra import logger
from pyinfra.api.host import Host
from pyinfra.api.state import State

from tasks.catalogue.secrets_file import save_passwords
from tasks.run.session import current
from tasks.steps.operations import call


def keep_passwords(state: State) -> None:
    """The secrets file has a password for every user of every role; only a real run writes it."""
    if any(keys for source, keys in current(state).tier.lacking.items() if isinstance(source, Path)):
        call(name="Save generated passwords on the controller", function=_save)


def keep_rotation(state: State, name: str) -> None:
    """The secrets file has the passwords of host `name` as a step of their rotation leaves them."""
    tier = current(state).tier
    if tier.edits_of(name) and isinstance(tier.sources[name], Path):
        call(name="Save rotated passwords on the controller", function=_rotate)


def _save(state: State, host: Host) -> bool:
    run = current(state)
    for path, added in run.tier.generated.items():
        once = partial(run.only_once, f"save {path}", partial(save_passwords, path, added))
        if not _saved(host, path, once):
            return False
    return True


def _rotate(state: State, host: Host) -> bool:
    tier = current(state).tier
    path = tier.sources[host.name]
    if not isinstance(path, Path):
        return True
    return _saved(host, path, lambda: save_passwords(path, {}, tier.edits_of(host.name)))


def _saved(host: Host, path: Path, save: Callable[[], bool]) -> bool:
    try:
        own = save()
    except OSError as error:
        host.log_styled(f"{path}: cannot be written: {error}", fg="red", log_func=logger.error)
        return False
    if not own:
        text = f"{path}: another deploy has written passwords meanwhile, nothing was changed: run this one again"
        host.log_styled(text, fg="red", log_func=logger.error)
    return own
