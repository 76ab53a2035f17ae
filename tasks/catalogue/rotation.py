"""Rotation of passwords: what a user's list in the secrets file becomes by each word of an operator. Pure.

`rotate` puts a new password first and keeps the others, `rotate_finish` keeps the first alone, `rotate_undo` puts what
was there before the last of the two first again. Each of them done twice is done once, so that a run that was
interrupted is repeated; none of them but `rotate_finish` drops a password.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from tasks.catalogue.acl_rules import OPERATOR
from tasks.catalogue.requested import FINISH, ROTATE, ROTATIONS, UNDO, Requests
from tasks.catalogue.roles import Role
from tasks.catalogue.secret import all_of

ANYWAY = "rotate_anyway"  # of finish: who is still there from before is meant to be turned away when it comes again
Pair = tuple[str, str]  # role, user
Known = Mapping[str, Mapping[str, str]]  # role → user → its passwords (tasks/catalogue/secret.py)


@dataclass(frozen=True)
class Edit:
    """What a user's passwords become in the secrets file, newest first; `word`: who asked for it.

    A run that only plans makes up none: `after` is `before` then, and `awaits` says that one would be put first.
    """

    word: str
    role: str
    user: str
    before: tuple[str, ...] = field(repr=False)
    after: tuple[str, ...] = field(repr=False)
    awaits: bool = False

    @property
    def pair(self) -> Pair:
        return self.role, self.user


def rotated(known: tuple[str, ...], new: str) -> tuple[str, ...]:
    """A new one first. Where a rotation is under way it goes on: a second new one would outlive the first unused."""
    return (new, *known) if len(known) == 1 else known


def finished(known: tuple[str, ...]) -> tuple[str, ...]:
    """The newest alone."""
    return known[:1]


def undone(known: tuple[str, ...], before: tuple[str, ...]) -> tuple[str, ...]:
    """As it was before the last step; what came since stays valid behind it, for somebody may have it already.

    Where none of it is in the list any more somebody has replaced them all, and they stay so.
    """
    return (*before, *(item for item in known if item not in before)) if set(before) & set(known) else known


def named(asked: Iterable[str], role: Role) -> list[str]:
    """The users of a role that a word names: `ROLE` is all of them, the tool's own among them."""
    users = (*role.services, OPERATOR)
    pairs = [item.partition(":") for item in asked]
    wanted = {user for name, _, user in pairs if name == role.name}
    return [user for user in users if user in wanted or "" in wanted]


def edits(
    roles: Iterable[tuple[Role, Requests]], known: Known, before: Known, make: Callable[[], str] | None
) -> Iterator[Edit]:
    """What the words of one run make of the passwords `known`; `before`: what users had before their last step.

    `make`: makes up a password, None in a run that only plans. Users that have none yet are not rotated: they get one.
    """
    done: set[Pair] = set()
    for role, requests in roles:
        for word in ROTATIONS:
            for user in named(getattr(requests, word), role):
                had = all_of(known.get(role.name, {}).get(user))
                if not had or (role.name, user) in done:
                    continue
                done.add((role.name, user))
                edit = _edit(word, (role.name, user), had, all_of(before.get(role.name, {}).get(user)), make)
                if edit.after != had or edit.awaits:
                    yield edit


def _edit(word: str, pair: Pair, had: tuple[str, ...], before: tuple[str, ...], make: Callable[[], str] | None) -> Edit:
    if word == ROTATE:
        awaits = len(had) == 1 and make is None
        return Edit(word, *pair, had, had if make is None else rotated(had, make()), awaits)
    return Edit(word, *pair, had, finished(had) if word == FINISH else undone(had, before))


def nothing_to_undo(
    roles: Iterable[tuple[Role, Requests]], known: Known, before: Known, source: object
) -> Iterator[str]:
    """Users whose rotation is to be undone and of whom no step is known; where a role is named, if of none of them."""
    for role, requests in roles:
        own, kept = (
            {user: set(all_of(text)) for user, text in items.get(role.name, {}).items()} for items in (known, before)
        )
        asked = [user for user in named(requests.rotate_undo, role) if user in own]
        lacking = [user for user in asked if not own[user] & kept.get(user, set())]
        if lacking and (lacking == asked or role.name not in requests.rotate_undo):
            yield (
                f"{UNDO}={role.name}: {', '.join(lacking)}: no rotation is kept beside {source}, expected one: put the "
                "password that is to be handed out first there, the others behind it, and deploy without this word"
            )


def in_words(source: object, made: Collection[Edit]) -> list[str]:
    """A line for each role and word of what is done to the secrets file; with no password."""
    what = {
        ROTATE: "a new password is put first, the old one stays valid",
        FINISH: "the first password stays, the older ones go",
        UNDO: "what was there before the last step is put first again, none goes; what a finish dropped is valid again",
    }
    users: dict[tuple[str, str], list[str]] = {}
    for edit in made:
        users.setdefault((edit.role, edit.word), []).append(edit.user)
    return [f"{source}: {role}: {', '.join(names)}: {what[word]}" for (role, word), names in users.items()]


def edits_to_paste(source: str, made: Iterable[Edit]) -> list[str]:
    """A line for each role of what has to be changed in a source that is only read; with no password."""
    how = {
        ROTATE: (
            "put another password before the present one of each (openssl rand -hex 32), as",
            "[NEW PASSWORD, PRESENT PASSWORD]",
        ),
        FINISH: ("leave the first password of each alone, as", "FIRST PASSWORD"),
    }
    users: dict[tuple[str, str], list[str]] = {}
    for edit in made:
        users.setdefault((edit.role, edit.word), []).append(edit.user)
    return [
        f"{source}: {role}: {how[word][0]} {role}: "
        f"{{{', '.join(f'{user}: {how[word][1]}' for user in names)}}}, and run this again"
        for (role, word), names in users.items()
    ]
