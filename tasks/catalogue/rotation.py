"""Rotation of passwords: what a user's list in the secrets file becomes by each word of an operator. Pure.

`rotate` puts a new password first and keeps the others, `rotate_finish` keeps the first alone, `rotate_undo` puts what
was there before the last of the two first again. Each of them done twice is done once, so that a run that was
interrupted is repeated; none of them but `rotate_finish` drops a password. What was dropped long ago, or in an earlier
step than the role's last, is made valid again only of a user that is named.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from tasks.catalogue.backup import PASSWORD as REPOSITORY
from tasks.catalogue.moments import in_utc
from tasks.catalogue.requested import FINISH, ROTATE, ROTATIONS, UNDO, Requests
from tasks.catalogue.roles import Role
from tasks.catalogue.secret import MOST, all_of
from tasks.catalogue.users import users_of

ANYWAY = "rotate_anyway"  # of finish: who is still there from before is meant to be turned away when it comes again
Pair = tuple[str, str]  # role, user
Known = Mapping[str, Mapping[str, str]]  # role → user → its passwords (tasks/catalogue/secret.py)
RECENT = 7 * 86400  # seconds: what somebody notices of a step that went wrong, he notices within a week


@dataclass(frozen=True)
class Kept:
    """What users had before the last step of their rotation, and when that was in seconds since the epoch, or 0."""

    passwords: Known = field(default_factory=dict, repr=False)
    when: Mapping[str, Mapping[str, int]] = field(default_factory=dict)

    def time(self, role: str, user: str) -> int:
        return self.when.get(role, {}).get(user, 0)


NOTHING_KEPT = Kept()


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
    when: int = 0  # seconds since the epoch: of this step, or of the one that is undone

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
    """The users of a role that a word names: `ROLE` is all of them, the tool's own among them.

    Its repository of backups, which is no user of Redis, is meant only where it is named (`ROLE:backup`).
    """
    pairs = [item.partition(":") for item in asked]
    wanted = {user for name, _, user in pairs if name == role.name}
    repository = [REPOSITORY] if role.backed_up and REPOSITORY in wanted else []
    return [user for user in users_of(role) if user in wanted or "" in wanted] + repository


def undoable(asked: Collection[str], role: Role, kept: Kept, now: int) -> list[str]:
    """The users whose last step is undone: those that are named, of a whole role those of its last step, if recent."""
    one_by_one = named([item for item in asked if ":" in item], role)
    last = max(kept.when.get(role.name, {}).values(), default=0)
    recent = now - last <= RECENT
    return [
        user
        for user in named(asked, role)
        if user in one_by_one or (recent and last and kept.time(role.name, user) == last)
    ]


def edits(
    roles: Iterable[tuple[Role, Requests]], known: Known, kept: Kept, make: Callable[[], str] | None, now: int
) -> Iterator[Edit]:
    """What the words of one run make of the passwords `known`; `kept`: what users had before their last step.

    `make`: makes up a password, None in a run that only plans. Users that have none yet are not rotated: they get one.
    """
    done: set[Pair] = set()
    for role, requests in roles:
        for word in ROTATIONS:
            asked = getattr(requests, word)
            for user in undoable(asked, role, kept, now) if word == UNDO else named(asked, role):
                had = all_of(known.get(role.name, {}).get(user))
                if not had or (role.name, user) in done:
                    continue
                done.add((role.name, user))
                edit = _edit(word, (role.name, user), had, kept, make, now)
                if edit.after != had or edit.awaits:
                    yield edit


def _edit(word: str, pair: Pair, had: tuple[str, ...], kept: Kept, make: Callable[[], str] | None, now: int) -> Edit:
    if word == ROTATE:
        awaits = len(had) == 1 and make is None
        return Edit(word, *pair, had, had if make is None else rotated(had, make()), awaits, now)
    if word == FINISH:
        return Edit(word, *pair, had, finished(had), when=now)
    before = all_of(kept.passwords.get(pair[0], {}).get(pair[1]))
    return Edit(word, *pair, had, undone(had, before), when=kept.time(*pair))


def undo_problems(
    roles: Iterable[tuple[Role, Requests]], known: Known, kept: Kept, source: object, now: int
) -> Iterator[str]:
    """Why the rotation of users cannot be undone; where a role is named, if that of none of them can."""
    for role, requests in roles:
        own, before = (
            {user: all_of(text) for user, text in items.get(role.name, {}).items()} for items in (known, kept.passwords)
        )
        asked = [user for user in named(requests.rotate_undo, role) if user in own]
        lacking = [user for user in asked if not {*own[user]} & {*before.get(user, ())}]
        if lacking and (lacking == asked or role.name not in requests.rotate_undo):
            yield (
                f"{UNDO}={role.name}: {', '.join(lacking)}: no rotation is kept beside {source}, expected one: put the "
                "password that is to be handed out first there, the others behind it, and deploy without this word"
            )
            continue
        undone_ones = undoable(requests.rotate_undo, role, kept, now)
        if asked and not undone_ones:
            yield from _not_asked_by_name(role, kept, [user for user in asked if user not in lacking])
        for user in undone_ones:
            count = len(undone(own.get(user, ()), before.get(user, ())))
            if count > MOST:
                yield (
                    f"{UNDO}={role.name}: {user}: would have {count} passwords, expected {MOST} at most: deploy with "
                    f"--data {FINISH}={role.name}:{user} first, or remove some of its list by hand"
                )


def _not_asked_by_name(role: Role, kept: Kept, users: Iterable[str]) -> Iterator[str]:
    """Users whose last step is not undone with their role's: what it dropped may have been given up for good."""
    for user in users:
        when = kept.time(role.name, user)
        was = f"was on {in_utc(when)}" if when else "was nobody knows when"
        yield (
            f"{role.name}: {user}: its last step {was}, expected the role's last one, of at most {RECENT // 86400} "
            f"days ago: to make valid again what was so before it, name the user: --data {UNDO}={role.name}:{user}"
        )


def rotation_notes(
    roles: Iterable[tuple[Role, Requests]], known: Known, kept: Kept, source: object, now: int
) -> Iterator[str]:
    """What the words of one run do not do to users that they name."""
    for role, requests in roles:
        own = {user: all_of(text) for user, text in known.get(role.name, {}).items()}
        several = [user for user in named(requests.rotate, role) if len(own.get(user, ())) > 1]
        if several:
            yield (
                f"{source}: {role.name}: {', '.join(several)}: more than one password already: {ROTATE} goes on with "
                f"those and makes up none; for another one deploy with --data {FINISH}={role.name} first"
            )
        undone_ones = undoable(requests.rotate_undo, role, kept, now)
        if undone_ones:
            before = kept.passwords.get(role.name, {})
            left = [user for user in named(requests.rotate_undo, role) if user in before and user not in undone_ones]
            yield from _not_asked_by_name(role, kept, left)


def in_words(source: object, made: Collection[Edit]) -> list[str]:
    """A line for each role and word of what is done to the secrets file; with no password."""
    what = {
        ROTATE: "a new password is put first, the old one stays valid",
        FINISH: "the first password stays, the older ones go",
        UNDO: "what was there before the last step{} is put first again, none goes; what a finish dropped is "
        "valid again",
    }
    users: dict[tuple[str, str, int], list[str]] = {}
    for edit in made:
        users.setdefault((edit.role, edit.word, edit.when if edit.word == UNDO else 0), []).append(edit.user)
    return [
        f"{source}: {role}: {', '.join(names)}: {what[word].format(f', of {in_utc(when)},' if when else '')}"
        for (role, word, when), names in users.items()
    ]


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
