"""Passwords in rotation: what is a difference, what may be dropped, and that no order of steps locks anybody out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tasks.catalogue.requested import ROTATIONS, requests
from tasks.catalogue.rotation import edits
from tasks.catalogue.secret import Secret, all_of
from tasks.catalogue.secrets_file import read_kept, read_passwords, save_passwords
from tasks.compare.difference import ByHand, Difference, Remedy
from tasks.compare.host import compare, notices
from tasks.compare.passwords import password_problems
from tasks.compare.rotation import begins_anew, finish_notices, finish_problems, from_before
from tasks.compare.rotation_record import BEGUN, begun, recorded
from tasks.compare.server import wanted_settings
from tasks.desired.build import desired_host
from tasks.desired.host import Host
from tasks.desired.paths import acl_file, rotation_file
from tasks.observed.login import operator_login
from tasks.observed.refusal import Cause, Refusal
from tasks.observed.state import Client, FileState, FileUser, Observed, Server
from tasks.steps.live import live_commands
from tests.unit.builders import SYSCTLS, as_desired, desired, roles, sha256, stopped, with_file, with_server, with_user

FILE = "secrets/prod.yaml"
ROLE, SERVICE = "crypto", "crypto-service"
USERS = (SERVICE, "operator")
OLD, NEW = (f"a-password-{name}-0123456789-abcdefghij" for name in ("old", "new"))
NOW = 1_790_000_000  # seconds since the epoch, on the host
RECORD = rotation_file(ROLE)


def wanting(own: Sequence[str], asked: Mapping[str, object] | None = None, awaited: bool = False) -> Host:
    """A host whose service has these passwords, newest first, and its operator one."""
    role = roles()[ROLE]
    passwords = {ROLE: {SERVICE: Secret(own[0], own[1:]), "operator": Secret(OLD)}}
    pairs = [(ROLE, SERVICE)] if awaited else []
    return desired_host("host-1", [role], passwords, SYSCTLS, None, requests(asked or {}), pairs)


def having(host: Host, *own: str, since: int | None = None, clients: Sequence[Client] = ()) -> Observed:
    """That host as desired, but for the passwords that the service has in the server, and since when it has several."""
    seen = with_user(as_desired(host), ROLE, SERVICE, passwords=[sha256(item) for item in own])
    server = seen.servers[ROLE]
    info = {**server.info, "server_time_usec": f"{NOW}000000"}
    seen = with_server(seen, ROLE, info=info, clients=tuple(clients))
    return recording(seen, {SERVICE: since}) if since is not None else seen


def recording(observed: Observed, since: Mapping[str, int | str | None]) -> Observed:
    text = "".join(f"{user} {began}\n" for user, began in since.items())
    return replace(observed, files={**observed.files, RECORD: FileState("file", "root", "root", "0600", text)})


def acl(host: Host, observed: Observed) -> Difference | None:
    return next((item for item in compare(host, observed) if (item.subject, item.name) == ("acl", SERVICE)), None)


FINISH = {"rotate_finish": f"{ROLE}:{SERVICE}"}


# --- What differs


@pytest.mark.parametrize(
    ("wanted", "has", "words", "asked"),
    [
        ((NEW, OLD), (NEW, OLD), None, {}),
        ((NEW, OLD), (OLD, NEW), None, {}),
        ((NEW, OLD), (OLD,), "lacks a password", {}),
        ((OLD, NEW), (OLD,), "lacks a password", {}),
        ((NEW,), (NEW, OLD), "has other passwords, too", FINISH),
    ],
)
def test_passwords_are_compared_as_a_set_and_changed_live_unasked_where_nobody_loses_one(
    wanted: Sequence[str], has: Sequence[str], words: str | None, asked: Mapping[str, object]
) -> None:
    host = wanting(wanted, asked)
    observed = having(host, *has)
    found = acl(host, observed)
    assert (found.observed if found else None) == words
    assert found is None or found.remedy == Remedy.LIVE
    assert list(password_problems(host, observed, FILE, ())) == []


@pytest.mark.parametrize(
    ("wanted", "has", "said", "way"),
    [
        ((NEW,), (NEW, OLD), "the running server takes passwords that", "--data rotate_finish=crypto"),
        ((NEW,), (OLD,), "the running server has another password than", "--data new_passwords=crypto"),
        ((NEW, OLD), ("x",), "the running server has another password than", "--data new_passwords=crypto"),
        ((NEW, OLD), (), "the running server has another password than", "--data new_passwords=crypto"),
        ((NEW, OLD), (OLD, "x"), "the running server has another password than", "--data new_passwords=crypto"),
    ],
)
def test_a_password_that_somebody_may_have_is_not_dropped_unasked(
    wanted: Sequence[str], has: Sequence[str], said: str, way: str
) -> None:
    host = wanting(wanted)
    observed = replace(having(host, *has), acl_users={})
    found = acl(host, observed)
    assert found is not None
    assert isinstance(found.remedy, ByHand)
    assert way in found.to_do
    (problem,) = password_problems(host, observed, FILE, ())
    assert said in problem
    assert way in problem


def test_what_only_a_deploy_makes_up_is_a_difference_of_its_plan_in_the_words_of_the_run() -> None:
    planned, done = wanting((OLD,), awaited=True), wanting((NEW, OLD))
    found = [
        {(item.name, item.observed, str(item.remedy)) for item in compare(host, having(wanting((OLD,)), OLD))}
        for host in (planned, done)
    ]
    assert found[0] == found[1]
    assert {name for name, _, _ in found[0]} == {SERVICE, acl_file(ROLE), RECORD}


def test_a_users_passwords_are_given_to_a_server_in_one_command() -> None:
    host = wanting((NEW, OLD))
    (instance,) = host.instances
    observed = having(host, OLD)
    differences = [item for item in compare(host, observed) if item.subject == "acl"]
    (command,) = live_commands(instance, differences, wanted_settings(instance, observed.servers[ROLE]))
    assert command[:5] == ("ACL", "SETUSER", SERVICE, "reset", "on")
    assert {word for word in command if word.startswith("#")} == {f"#{sha256(NEW)}", f"#{sha256(OLD)}"}


# --- A server that does not answer: what its file has


@pytest.mark.parametrize(
    ("wanted", "asked", "has", "kept"),
    [
        ((NEW, OLD), {}, (OLD,), False),
        ((NEW,), {}, (NEW, OLD), True),
        ((NEW,), FINISH, (NEW, OLD), False),
        ((NEW,), FINISH, (OLD,), True),
        ((NEW,), {}, (OLD,), True),
    ],
)
def test_of_a_stopped_instance_its_file_is_what_it_has(
    wanted: Sequence[str], asked: Mapping[str, object], has: Sequence[str], kept: bool
) -> None:
    host = wanting(wanted, asked)
    seen = with_file(stopped(as_desired(host), ROLE), acl_file(ROLE), content=sha256("another text"))
    users = [user for user in seen.acl_users[acl_file(ROLE)] if user.name != SERVICE]
    users.append(FileUser(SERVICE, tuple(sha256(item)[:4] for item in has)))
    seen = replace(seen, acl_users={acl_file(ROLE): tuple(users)})
    problems = [*password_problems(host, seen, FILE, ()), *finish_problems(host, seen, False)]
    (file,) = [item for item in compare(host, seen) if item.name == acl_file(ROLE)]
    assert (bool(problems), isinstance(file.remedy, ByHand)) == (kept, kept)


# --- Since when


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("crypto-service 5\noperator 17\n", {"crypto-service": 5, "operator": 17}),
        ("crypto-service\n x 5\n../x 5\ncrypto-service 5 6\ncrypto-service -5\ncrypto-service 999999999999\n", {}),
        ("", {}),
    ],
)
def test_what_is_recorded_is_names_and_times(text: str, found: dict[str, int]) -> None:
    host = wanting((NEW, OLD))
    observed = replace(having(host, NEW, OLD), files={RECORD: FileState("file", "root", "root", "0600", text)})
    assert recorded(host.instances[0], observed) == found
    assert begun(host.instances[0], observed) == set()
    amid = recording(observed, {SERVICE: BEGUN, "operator": 5})
    assert begun(host.instances[0], amid) == {SERVICE}
    assert recorded(host.instances[0], amid) == {"operator": 5}
    link = replace(observed, files={RECORD: FileState("link", "root", "root", "0777", "crypto-service 5")})
    assert recorded(host.instances[0], link) == {}


def records(host: Host, observed: Observed) -> list[Difference]:
    return [item for item in compare(host, observed) if item.remedy == Remedy.RECORD]


def test_who_has_several_passwords_is_recorded_and_nobody_else() -> None:
    two, one = wanting((NEW, OLD)), wanting((NEW,))
    assert records(two, having(two, NEW, OLD, since=5)) == []
    assert records(one, having(one, NEW)) == []
    (lacks,) = records(two, having(two, NEW, OLD))
    assert (lacks.expected, lacks.observed) == ("since when of crypto-service", "nothing")
    (gone,) = records(one, having(one, NEW, since=5))
    assert gone.expected == "absent"
    (more,) = records(two, recording(having(two, NEW, OLD), {SERVICE: 5, "operator": 5}))
    assert more.observed == "since when of crypto-service, operator"


def test_another_password_begins_a_rotation_anew() -> None:
    host = wanting((NEW, OLD, "third"))
    observed = having(host, NEW, OLD, since=5)
    assert begins_anew(host.instances[0], observed) == [SERVICE]
    (found,) = records(host, observed)
    assert found.observed.endswith("begins anew for crypto-service")


def test_drift_names_who_has_several_passwords_and_since_when() -> None:
    host = wanting((NEW, OLD))
    (said,) = [note for note in notices(host, having(host, NEW, OLD, since=NOW)) if "passwords" in note]
    assert said == (
        "crypto: crypto-service has 2 passwords, since 2026-09-21 14:13:20 UTC: --data rotate_finish=crypto drops all "
        "but the newest"
    )
    assert [note for note in notices(wanting((NEW,)), having(wanting((NEW,)), NEW)) if "passwords" in note] == []
    (said,) = [note for note in notices(host, having(host, NEW, OLD)) if "passwords" in note]
    assert "since nobody knows when" in said


# --- A finish

BEFORE, AFTER = Client(SERVICE, "10.0.0.1:1", 101), Client(SERVICE, "10.0.0.2:2", 99)
OF_ANOTHER = Client("operator", "10.0.0.3:3", 999)


def finishing(
    *clients: Client, since: int | None = NOW - 100, has: Sequence[str] = (NEW, OLD)
) -> tuple[Host, Observed]:
    host = wanting((NEW,), FINISH)
    return host, having(host, *has, since=since, clients=clients)


def test_a_finish_is_refused_while_a_connection_from_before_is_there_unless_that_is_meant() -> None:
    host, observed = finishing(AFTER, BEFORE, OF_ANOTHER)
    (said,) = finish_problems(host, observed, False)
    assert "crypto: crypto-service: connections from before the rotation, since 2026-09-21 14:11:40 UTC" in said
    assert "10.0.0.1:1 (for 101 s), expected none" in said
    assert "10.0.0.2" not in said
    assert finish_problems(host, observed, True) == []
    assert finish_problems(*finishing(AFTER, OF_ANOTHER), False) == []


def test_one_that_came_in_the_same_second_counts_as_from_before() -> None:
    assert len(finish_problems(*finishing(replace(AFTER, age=100)), False)) == 1


def test_where_nobody_knows_since_when_everybody_counts_as_from_before() -> None:
    (said,) = finish_problems(*finishing(AFTER, BEFORE, since=None), False)
    assert (
        "connections from before the rotation, since nobody knows when: 10.0.0.1:1 (for 101 s), 10.0.0.2:2 (for 99 s)"
        in said
    )
    host, observed = finishing(AFTER)
    silent = with_server(observed, ROLE, info={})
    assert len(finish_problems(host, silent, False)) == 1


def test_the_first_ten_connections_are_listed_the_oldest_first() -> None:
    clients = [Client(SERVICE, f"10.0.0.1:{number}", 200 + number) for number in range(15)]
    (said,) = finish_problems(*finishing(*clients), False)
    assert "10.0.0.1:14 (for 214 s), 10.0.0.1:13" in said
    assert said.partition("10.0.0.1:5 (for 205 s)")[2].startswith(" and 5 more")


def test_where_there_is_no_older_password_nobody_is_from_before() -> None:
    host, observed = finishing(BEFORE, has=(NEW,))
    assert from_before(host.instances[0], SERVICE, observed) == []
    assert finish_problems(host, observed, False) == []
    assert list(finish_notices(host, observed)) == []


@pytest.mark.parametrize("anyway", [True, False])
def test_a_finish_waits_until_the_server_has_the_newest_password(anyway: bool) -> None:
    (said,) = finish_problems(*finishing(has=(OLD,)), anyway)
    assert "crypto: crypto-service: the running server lacks its newest password" in said
    host, observed = finishing()
    silent = replace(observed, servers={ROLE: Server(refusal=Refusal(Cause.BUSY, "BUSY"))})
    (said,) = finish_problems(host, silent, anyway)
    assert "who is connected is not known (BUSY)" in said
    host, observed = finishing()
    old_file = replace(observed, acl_users={acl_file(ROLE): (FileUser(SERVICE, (sha256(OLD)[:4],)),)})
    (said,) = finish_problems(host, old_file, anyway)
    assert "crypto: crypto-service: /etc/redis/crypto.acl lacks its newest password" in said


def test_a_finish_says_that_redis_does_not_say_who_used_which_and_how_it_is_undone() -> None:
    host, observed = finishing(AFTER, OF_ANOTHER)
    (said,) = finish_notices(host, observed)
    assert "crypto: crypto-service: its connections (1) stay. Redis does not say which password one used" in said
    assert "--data rotate_undo=crypto:crypto-service" in said


def test_no_finding_holds_a_password_or_its_hash() -> None:
    host, observed = finishing(AFTER, BEFORE)
    said = [
        *finish_problems(host, observed, False),
        *finish_notices(host, observed),
        *password_problems(wanting((NEW,)), observed, FILE, ()),
        *map(str, compare(wanting((NEW,)), observed)),
        repr(host.instances[0].users),
        repr(observed.servers),
    ]
    secrets = [text for own in (OLD, NEW) for text in (own, sha256(own))]
    assert [secret for secret in secrets if secret in " ".join(said)] == []


# --- Which password a login tries first


@pytest.mark.parametrize(
    ("file", "order"),
    [((NEW, OLD), (NEW, OLD)), ((OLD,), (OLD, NEW)), ((NEW,), (NEW, OLD)), ((), (NEW, OLD)), (("x",), (NEW, OLD))],
)
def test_the_operator_logs_in_with_what_its_file_has_and_of_these_with_the_newest(
    file: Sequence[str], order: Sequence[str]
) -> None:
    host = desired(ROLE)
    user = FileUser("operator", tuple(sha256(item)[:4] for item in file))
    observed = replace(as_desired(host), acl_users={acl_file(ROLE): (FileUser("other"), user)})
    assert all_of(operator_login(ROLE, Secret(NEW, [OLD]), observed)) == order
    assert operator_login(ROLE, None, observed) is None


# --- Any order of steps


@dataclass
class Tier:
    """One role: its secrets file, its server, its ACL file and what is recorded; deploys that may be cut off."""

    path: Path
    server: dict[str, set[str]] = field(default_factory=dict)
    file: dict[str, set[str]] = field(default_factory=dict)
    since: dict[str, int] = field(default_factory=dict)
    begun: set[str] = field(default_factory=set)
    numbers: Any = field(default_factory=lambda: count(1))

    def make(self) -> str:
        return f"a-password-{next(self.numbers)}-0123456789-abcdefghij"

    def listed(self) -> dict[str, tuple[str, ...]]:
        found, problems = read_passwords(self.path)
        assert problems == []
        return {user: all_of(own) for user, own in found[ROLE].items()}

    def deploy(self, word: str = "", cut: int | None = None, anyway: bool = True) -> bool:
        """Whether it was done to its end; False when it was refused, or cut off after so many steps."""
        role, asked = roles()[ROLE], requests({word: ROLE} if word else {})
        found, kept = read_passwords(self.path)[0], read_kept(self.path)[0]
        made = list(edits([(role, asked)], found, kept, self.make, NOW))
        for item in made:
            found[item.role][item.user] = Secret(item.after[0], item.after[1:])
        host = desired_host("host-1", [role], found, SYSCTLS, None, asked)
        observed = self.observed(host)
        if [*password_problems(host, observed, FILE, ()), *finish_problems(host, observed, anyway)]:
            return False
        (instance,) = host.instances
        names = {item.user for item in made if item.word != "rotate_finish"} | {*begins_anew(instance, observed)}
        self.begun |= names
        self.since = {user: when for user, when in self.since.items() if user not in names}
        differences = [item for item in compare(host, observed) if item.subject == "acl"]
        assert all(item.remedy == Remedy.LIVE for item in differences)
        commands = live_commands(instance, differences, {})
        wanted = {user.name: set(user.passwords_sha256) for user in instance.users}
        steps: list[Callable[[], object]] = [partial(save_passwords, self.path, {}, made)]
        steps += [partial(self.told, command) for command in commands]
        steps += [partial(self.file.update, wanted), partial(self.record, instance.users)]
        for number, act in enumerate(steps):
            if number == cut:
                return False
            assert act() is not False
        return True

    def told(self, command: Sequence[str]) -> None:
        self.server[command[2]] = {word[1:] for word in command if word.startswith("#")}

    def record(self, users: Sequence[Any]) -> None:
        several = [user.name for user in users if user.has_several]
        self.since, self.begun = {name: self.since.get(name, NOW) for name in several}, set()

    def observed(self, host: Host) -> Observed:
        seen = as_desired(host)
        for user, own in self.server.items():
            seen = with_user(seen, ROLE, user, passwords=sorted(own))
        users = tuple(FileUser(user, tuple(item[:4] for item in own)) for user, own in self.file.items())
        lines: dict[str, int | str | None] = {**self.since, **dict.fromkeys(self.begun, BEGUN)}
        return recording(replace(seen, acl_users={acl_file(ROLE): users}), lines)


@pytest.mark.parametrize("asked", ["", "rotate"])
def test_what_a_rotation_brought_that_was_cut_off_stays_whatever_secrets_another_controller_has(
    tmp_path: Path, asked: str
) -> None:
    """With a secrets command, or from elsewhere, nothing is kept beside the file: the host says that it has begun."""
    tier = established(tmp_path)
    before = tier.path.read_text()
    if asked:
        assert not tier.deploy("rotate", cut=3)
    else:  # what a person has pasted
        tier.path.write_text(yaml.safe_dump({ROLE: {user: [tier.make(), *own] for user, own in tier.listed().items()}}))
        assert not tier.deploy("", cut=3)
    brought = {user: set(own) for user, own in tier.server.items()}
    assert all(len(own) == 2 for own in brought.values())
    newest = tier.path.read_text()
    tier.path.write_text(before)
    tier.path.with_name("prod.yaml.before").unlink(missing_ok=True)
    assert not tier.deploy()
    assert tier.server == brought
    tier.path.write_text(newest)
    assert tier.deploy()
    assert tier.begun == set()
    assert tier.file == tier.server == brought


def established(directory: Path) -> Tier:
    """A tier that a deploy has left."""
    tier = Tier(directory / "prod.yaml")
    tier.path.write_text(yaml.safe_dump({ROLE: {user: tier.make() for user in USERS}}))
    tier.path.chmod(0o600)
    tier.server = {user: {sha256(own[0])} for user, own in tier.listed().items()}
    tier.file = {user: set(own) for user, own in tier.server.items()}
    return tier


STEP = st.tuples(st.sampled_from(["", *ROTATIONS]), st.none() | st.integers(0, 4))


@settings(max_examples=40, deadline=None)
@given(st.lists(STEP, max_size=8))
@example([("rotate", 4), ("rotate_finish", 2), ("rotate_undo", 1)])
def test_in_any_order_of_steps_and_interruptions_the_newest_password_lets_everybody_in(
    steps: Sequence[tuple[str, int | None]],
) -> None:
    with TemporaryDirectory() as directory:
        tier = established(Path(directory))
        given_out = {user: own[0] for user, own in tier.listed().items()}  # by deploys that were done to their end
        for word, cut in steps:
            done = tier.deploy(word, cut)
            listed = tier.listed()
            for user, own in listed.items():
                hashes = {sha256(item) for item in own}
                assert tier.server[user] & hashes, (word, cut, user)
                assert tier.file[user] & hashes, (word, cut, user)
                if word != "rotate_finish" and cut is not None:
                    assert sha256(given_out[user]) in tier.server[user] or given_out[user] not in own
                if word == "rotate_finish" and given_out[user] not in own:
                    given_out[user] = own[0]  # who asks for a finish anyway turns away who has an older one
                if done:
                    assert tier.server[user] == tier.file[user] == hashes
                    assert (user in tier.since) == (len(own) > 1)
                    assert tier.begun == set()
                    given_out[user] = own[0]
        # Whatever was interrupted goes on, or back.
        assert tier.deploy("rotate_finish") or tier.deploy("") or tier.deploy("rotate_undo")
        for user, own in tier.listed().items():
            assert sha256(own[0]) in tier.server[user]


# --- What nobody here knows


@pytest.mark.parametrize(
    ("own", "has", "refused"),
    [
        ((NEW, OLD), (NEW, OLD), False),
        ((NEW,), (NEW,), False),
        ((OLD,), (NEW, OLD), True),  # a file of before the rotation
        ((NEW, OLD), (NEW, OLD, "x"), True),
    ],
)
def test_a_finish_drops_no_password_that_nobody_here_knows(
    own: Sequence[str], has: Sequence[str], refused: bool
) -> None:
    host = wanting(own, FINISH)
    observed = having(host, *has, since=NOW)
    said = finish_problems(host, observed, False, True)
    assert [f"{ROLE}: {SERVICE}: 1 of the server's passwords" in text for text in said] == [True] * refused
    assert finish_problems(host, observed, True, True) == []
