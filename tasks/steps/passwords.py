"""Passwords: those made up in this run are saved on the controller before a host learns their hashes."""

from __future__ import annotations

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


def _save(state: State, host: Host) -> bool:
    run = current(state)
    for path, added in run.tier.generated.items():
        try:
            own = run.only_once(f"save {path}", lambda path=path, added=added: save_passwords(path, added))  # type: ignore[misc]
        except OSError as error:
            host.log_styled(f"{path}: cannot be written: {error}", fg="red", log_func=logger.error)
            return False
        if not own:
            text = f"{path}: another deploy has written passwords meanwhile, nothing was changed: run this one again"
            host.log_styled(text, fg="red", log_func=logger.error)
            return False
    return True
