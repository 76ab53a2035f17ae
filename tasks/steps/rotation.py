"""Rotation: it is recorded on the host since when users have more than one password.

Before a password becomes valid, or another one is handed out, it is recorded of its user that this has begun; since
when is recorded afterwards, later than the moment itself. Whatever is interrupted, nobody is taken for younger than he
is, and no deploy takes for a stranger's what an earlier one has brought (tasks/compare/passwords.py).
"""

from __future__ import annotations

from collections.abc import Collection

from pyinfra.api.state import State

from tasks.catalogue.requested import FINISH
from tasks.catalogue.rotation import Edit
from tasks.compare.difference import Remedy, chosen
from tasks.compare.rotation import begins_anew
from tasks.compare.rotation_record import begun, recorded
from tasks.desired.host import Instance
from tasks.desired.paths import RECORDS, rotation_file
from tasks.observed.script import script
from tasks.run.session import current
from tasks.run.survey import Look
from tasks.steps.operations import run_commands


def rotation_of(state: State, seen: Look) -> list[Edit]:
    """The steps of rotations that this run takes on a host."""
    return current(state).tier.edits_of(seen.desired.name)


def record_begin(seen: Look, changed: Collection[Edit]) -> None:
    """Of users of whom a new password is about to be valid, or another to be handed out, that is recorded alone."""
    commands = []
    for instance in seen.desired.instances:
        beginning = anew(seen, instance, changed)
        others = known(seen, instance).keys() | unended(seen, instance)
        if beginning - unended(seen, instance):
            commands.append(record_script(instance.name, others - beginning, (), beginning))
    if commands:
        run_commands(name="Record whose passwords are about to change", commands=commands)


def record_since(seen: Look, changed: Collection[Edit]) -> None:
    """It is recorded who has more than one password, and since when: of whom nothing is recorded, since now."""
    due = {item.role for item in chosen(seen.differences, "file", remedy=Remedy.RECORD)}
    commands = []
    for instance in seen.desired.instances:
        going = anew(seen, instance, changed)
        if instance.name in due or going:
            several = {user.name for user in instance.users if user.has_several}
            kept = several & known(seen, instance).keys() - going
            commands.append(record_script(instance.name, kept, several - kept))
    if commands:
        run_commands(name="Record since when users have several passwords", commands=commands)


def known(seen: Look, instance: Instance) -> dict[str, int]:
    """What is recorded of an instance's users."""
    return recorded(instance, seen.observed) if seen.observed else {}


def unended(seen: Look, instance: Instance) -> frozenset[str]:
    """Users of whom a deploy recorded that it begins, and then did not end."""
    return begun(instance, seen.observed) if seen.observed else frozenset()


def anew(seen: Look, instance: Instance, changed: Collection[Edit]) -> set[str]:
    """Users of whom what is recorded is not so any more after this run."""
    names = {item.user for item in changed if item.role == instance.name and item.word != FINISH}
    begins = begins_anew(instance, seen.observed) if seen.observed else []
    return {*names, *begins}


def record_script(role: str, keep: Collection[str], add: Collection[str], begin: Collection[str] = ()) -> str:
    """Shell that records it. Pure."""
    path = rotation_file(role)
    names = {"keep": sorted(keep), "add": sorted(add), "begin": sorted(begin)}
    return script("record-rotation", directory=RECORDS, path=path, **names)
