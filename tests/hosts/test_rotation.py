"""Passwords are rotated under services that go on: nobody is cut off, and whatever is interrupted goes on or back."""

import hashlib
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import redis
import yaml

from tests.hosts.clients import client
from tests.hosts.conftest import INNER_PORT, TABLE, Finished, Tier, output, two_roles
from tests.hosts.faults import break_once, every_fault
from tests.hosts.runbook_steps import run
from tests.hosts.transactions import Sent, sending
from tests.lab.containers import REPOSITORY
from tests.runbook import entries, fragments

pytestmark = pytest.mark.hosts

CARRIED = ("gateway", "crypto")
USERS = {role: (*TABLE[role]["services"], "operator") for role in CARRIED}
ALL = ",".join(CARRIED)
RECORDS = "/var/lib/caas-redis"
Lists = dict[str, dict[str, list[str]]]


@pytest.fixture(scope="module")
def deployed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tier]:
    """Two roles on one host, deployed."""
    with two_roles(tmp_path_factory.mktemp("rotation"), *CARRIED) as tier:
        yield tier


@pytest.fixture
def box(deployed: Tier) -> Iterator[Tier]:
    """The same servers run before and after, each user has one password then, and the next deploy does nothing."""
    before = pids(deployed)
    yield deployed
    deployed.deploy("--data", f"rotate_finish={ALL}", "--data", "rotate_anyway=true")
    assert {len(own) for users in lists(deployed).values() for own in users.values()} == {1}
    assert pids(deployed) == before
    assert deployed.deploy_json()["results"]["totals"]["success"] == 0
    assert deployed.host("gateway").sh(f"ls {RECORDS}/*.rotation 2>/dev/null || true") == ""


def pids(tier: Tier) -> dict[str, int]:
    return {role: tier.pid(role) for role in CARRIED}


def lists(tier: Tier) -> Lists:
    """Every password by role and user, newest first."""
    known = yaml.safe_load(tier.secrets.read_text())
    return {
        role: {user: own if isinstance(own, list) else [own] for user, own in users.items()}
        for role, users in known.items()
    }


def logs_in(tier: Tier, role: str, user: str, password: str) -> bool:
    row = TABLE[role]
    known = client(tier.lab.netns, row["address"], row["port"], user, password)
    try:
        return bool(known.ping())
    except redis.AuthenticationError:
        return False
    finally:
        known.connection_pool.disconnect()  # else it would be there at a finish


def let_in(tier: Tier, role: str, user: str, *passwords: str) -> list[bool]:
    return [logs_in(tier, role, user, password) for password in passwords]


@contextmanager
def services(tier: Tier, *roles: str, port: int | None = None) -> Iterator[Sent]:
    """Every user of these roles sends transactions, with the password that is handed out now."""
    logins = [
        {
            "host": TABLE[role]["address"],
            "port": port or TABLE[role]["port"],
            "username": user,
            "password": lists(tier)[role][user][0],
        }
        for role in roles
        for user in USERS[role]
    ]
    with sending(tier.lab.record.netns, REPOSITORY, logins) as sent:
        yield sent


def undisturbed(sent: Sent) -> int:
    """No transaction failed, each service is on its first connection; how many were sent."""
    found = sent.report()
    assert [(name, said["failed"]) for name, said in found.items() if said["failed"]] == []
    assert {name: said["connections"] for name, said in found.items()} == dict.fromkeys(found, 1)
    return sum(said["done"] for said in found.values())


def secrets_of(*known: Lists) -> list[str]:
    words = {word for users in known for own in users.values() for several in own.values() for word in several}
    return sorted(words | {hashlib.sha256(word.encode()).hexdigest() for word in words})


def test_every_user_of_a_role_gets_a_new_password_and_nobody_notices(box: Tier, tmp_path: Path) -> None:
    first = lists(box)
    with services(box, *CARRIED) as old, services(box, *CARRIED, port=INNER_PORT) as old_inside:
        rotated = box.run("deploy.py", "-vvv", "--debug", "--diff", "--data", "rotate=gateway")
        assert rotated.returncode == 0, output(rotated)
        both = lists(box)
        assert both["crypto"] == first["crypto"]
        for user in USERS["gateway"]:
            assert both["gateway"][user][1:] == first["gateway"][user]
            assert let_in(box, "gateway", user, *both["gateway"][user]) == [True, True]
        assert oct(box.secrets.stat().st_mode & 0o777) == "0o600"
        assert oct(Path(f"{box.secrets}.before").stat().st_mode & 0o777) == "0o600"

        # Done twice it is done once; verify logs in with the newest, drift names who has two and since when.
        again = box.deploy("--data", "rotate=gateway")
        assert lists(box) == both
        assert box.run("tasks/verify.py").returncode == 0
        report = tmp_path / "drift.json"
        drift = box.run("tasks/drift.py", "--data", f"drift_report={report}")
        assert drift.returncode == 0, output(drift)
        host: dict[str, Any] = json.loads(report.read_text())["hosts"]["redis-1"]
        assert host["status"] == "in_sync"
        named = (
            r"gateway: auth-service, gateway, operator have each 2 passwords, since \d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC"
        )
        assert re.search(named, host["message"])
        record = box.host("gateway").sh(f"stat -c '%U %a' {RECORDS}/gateway.rotation; cat {RECORDS}/gateway.rotation")
        assert re.fullmatch(r"root 600\n(auth-service|gateway|operator) \d+\n(.+ \d+\n){2}", record)

        # What is handed out is the new one.
        files = tmp_path / "handed-out"
        assert box.run("tasks/endpoints.py", "--data", f"endpoints_dir={files}").returncode == 0
        assert both["gateway"]["auth-service"][0] in (files / "auth-service.env").read_text()

        refused = box.run("deploy.py", "--data", "rotate_finish=gateway")
        assert refused.returncode != 0
        said = output(refused)
        for user in USERS["gateway"]:
            line = (
                rf"gateway: {user}: connections from before the rotation, since .*?: 172\.28\.2\.\d+:\d+ \(for \d+ s\)"
            )
            assert re.search(line, said), said
        assert lists(box) == both
        dry = box.run("deploy.py", "--dry", "--data", "rotate_finish=gateway", yes=False)
        assert dry.returncode != 0

        with services(box, *CARRIED) as new:
            assert undisturbed(old) > 0 < undisturbed(old_inside)
            old.process.kill()  # services are restarted
            old_inside.process.kill()
            old.process.wait()
            old_inside.process.wait()
            finished = box.deploy("--data", "rotate_finish=gateway")
            assert "Redis does not say which password" in output(finished)
            assert "rotate_undo=gateway:auth-service" in output(finished)
            for user in USERS["gateway"]:
                assert lists(box)["gateway"][user] == both["gateway"][user][:1]
                assert let_in(box, "gateway", user, *both["gateway"][user]) == [True, False]
            assert box.run("tasks/verify.py").returncode == 0

            # A service that was forgotten is let in again.
            box.deploy("--data", "rotate_undo=gateway:auth-service")
            assert lists(box)["gateway"]["auth-service"] == both["gateway"]["auth-service"]
            assert let_in(box, "gateway", "auth-service", *both["gateway"]["auth-service"]) == [True, True]
            assert lists(box)["gateway"]["gateway"] == both["gateway"]["gateway"][:1]
            box.deploy("--data", "rotate_undo=gateway:auth-service")
            assert lists(box)["gateway"]["auth-service"] == both["gateway"]["auth-service"]
            # Two passwords again, and nobody knows which one those had who are there since before.
            assert box.run("deploy.py", "--data", "rotate_finish=gateway").returncode != 0
            assert undisturbed(new) > 0
        box.deploy("--data", "rotate_finish=gateway")
        assert let_in(box, "gateway", "auth-service", *both["gateway"]["auth-service"]) == [True, False]
    everything = "".join(map(output, (rotated, again, drift, refused, dry, finished)))
    assert [secret for secret in secrets_of(first, both) if secret in everything] == []


def test_a_rotation_is_undone_before_anybody_has_the_new_password(box: Tier) -> None:
    first = lists(box)["crypto"]["crypto-service"]
    box.deploy("--data", "rotate=crypto:crypto-service")
    new, _ = lists(box)["crypto"]["crypto-service"]
    assert lists(box)["crypto"]["operator"] == box_operator(box)
    for _ in range(2):
        box.deploy("--data", "rotate_undo=crypto:crypto-service")
        assert lists(box)["crypto"]["crypto-service"] == [*first, new]
        assert let_in(box, "crypto", "crypto-service", *first, new) == [True, True]
    box.deploy("--data", "rotate_finish=crypto:crypto-service")
    assert lists(box)["crypto"]["crypto-service"] == first
    assert let_in(box, "crypto", "crypto-service", *first, new) == [True, False]


def box_operator(tier: Tier) -> list[str]:
    return lists(tier)["crypto"]["operator"][:1]


def test_who_is_still_there_stays_when_the_old_password_is_dropped_anyway(box: Tier) -> None:
    with services(box, "crypto") as old:
        box.deploy("--data", "rotate=crypto")
        both = lists(box)["crypto"]
        assert box.run("deploy.py", "--data", "rotate_finish=crypto").returncode != 0
        box.deploy("--data", "rotate_finish=crypto", "--data", "rotate_anyway=true")
        assert undisturbed(old) > 0
        for user in USERS["crypto"]:
            assert let_in(box, "crypto", user, *both[user]) == [True, False]


def test_a_plain_deploy_drops_no_password_that_the_file_has_lost(box: Tier) -> None:
    box.deploy("--data", "rotate=crypto")
    both = lists(box)["crypto"]
    kept = box.secrets.read_text()
    edited = yaml.safe_load(kept)
    edited["crypto"] = {user: own[0] for user, own in both.items()}
    box.secrets.write_text(yaml.safe_dump(edited))
    done = box.run("deploy.py")
    assert done.returncode != 0
    assert "crypto: crypto-service, operator: the running server takes passwords that" in output(done)
    assert "--data rotate_finish=crypto" in output(done)
    for user in USERS["crypto"]:
        assert let_in(box, "crypto", user, *both[user]) == [True, True]
    # No step of the tool has taken it out, so there is none to be undone: who took it out puts it back.
    undone = box.run("deploy.py", "--data", "rotate_undo=crypto")
    assert undone.returncode != 0
    assert "no rotation is kept beside" in output(undone)
    box.secrets.write_text(kept)
    box.deploy()
    for user in USERS["crypto"]:
        assert let_in(box, "crypto", user, *both[user]) == [True, True]


@pytest.mark.parametrize("beside", ["what was before", "nothing"])
def test_a_plain_deploy_keeps_what_a_rotation_brought_that_was_cut_off_before_its_file(box: Tier, beside: str) -> None:
    kept = box.secrets.read_text()
    fault = break_once(box, "kill before", "--data", "rotate=crypto", at="Write the instances' files")
    assert fault.operation == "Write the instances' files", output(fault.done)
    both = lists(box)["crypto"]
    rotated = box.secrets.read_text()
    box.secrets.write_text(kept)  # by hand, from a backup, or as another controller has it
    if beside == "nothing":
        box.secrets.with_name(f"{box.secrets.name}.before").unlink()
    done = box.run("deploy.py")
    assert done.returncode != 0
    assert "crypto: crypto-service, operator: the running server takes passwords that" in " ".join(output(done).split())
    for user in USERS["crypto"]:
        assert let_in(box, "crypto", user, *both[user]) == [True, True]
    box.secrets.write_text(rotated)
    box.deploy()
    assert "begun" not in box.host("crypto").sh("cat /var/lib/caas-redis/crypto.rotation")
    assert box.run("tasks/verify.py").returncode == 0


STEPS = ("rotate", "rotate_finish", "rotate_undo")


@pytest.mark.soak
@pytest.mark.parametrize("kind", ["kill before", "kill during"])
def test_a_controller_that_is_killed_at_any_step_locks_nobody_out_and_is_gone_on_from(box: Tier, kind: str) -> None:
    for word in STEPS:
        known = lists(box)["crypto"]
        for fault in every_fault(box, kind, f"{word} of a role", "--data", f"{word}=crypto"):
            now = lists(box)["crypto"]
            for user in USERS["crypto"]:
                assert True in let_in(box, "crypto", user, *now[user]), fault
                # Who has been given a password by a deploy that ended, and nobody has finished it since.
                kept = known[user][:1]
                assert logs_in(box, "crypto", user, kept[0]), fault
            assert "Traceback" not in output(box.run("tasks/drift.py"))
        box.deploy()
        for user in USERS["crypto"]:
            own = lists(box)["crypto"][user]
            assert let_in(box, "crypto", user, *own) == [True] * len(own)
        assert box.run("tasks/verify.py").returncode == 0


@pytest.mark.parametrize(
    ("kind", "at"),
    [
        ("kill during", "Change settings and users live"),
        pytest.param("kill before", "Change settings and users live", marks=pytest.mark.soak),
        pytest.param("kill before", "Save rotated passwords on the controller", marks=pytest.mark.soak),
        pytest.param("kill during", "Save rotated passwords on the controller", marks=pytest.mark.soak),
    ],
)
def test_a_rotation_that_was_killed_is_undone(box: Tier, tmp_path: Path, kind: str, at: str) -> None:
    first = lists(box)["crypto"]
    fault = break_once(box, kind, "--data", "rotate=crypto", at=at)
    assert fault.operation == at, output(fault.done)
    # What is handed out is taken, by the server as it is and as its next start would have it.
    done = box.run("tasks/endpoints.py", "--data", f"endpoints_dir={tmp_path / 'ways'}")
    assert done.returncode == 0, output(done)
    line = next(
        line for line in (tmp_path / "ways" / "crypto-service.env").read_text().splitlines() if "PASSWORD" in line
    )
    handed_out = line.partition("=")[2]
    assert logs_in(box, "crypto", "crypto-service", handed_out)
    in_file = hashlib.sha256(handed_out.encode()).hexdigest() in box.host("crypto").sh("cat /etc/redis/crypto.acl")
    assert in_file
    box.deploy("--data", "rotate_undo=crypto")
    for user in USERS["crypto"]:
        own = lists(box)["crypto"][user]
        assert own[:1] == first[user]
        assert let_in(box, "crypto", user, *own) == [True] * len(own)


def test_beside_a_secrets_command_what_is_to_be_pasted_is_printed(box: Tier, tmp_path: Path) -> None:
    store = tmp_path / "store.yaml"
    store.write_text(box.secrets.read_text())

    def run(*options: str, file: str = "deploy.py", yes: bool = True) -> Finished:
        words = [*(["-y"] if yes else []), "--data", f'redis_secrets_command=["cat", "{store}"]', *options]
        return box.lab.pyinfra(*words, box.inventory, file, cwd=box.repository, timeout=300)

    def put(*own: str) -> None:
        known = yaml.safe_load(store.read_text())
        known["crypto"]["crypto-service"] = list(own) if len(own) > 1 else own[0]
        store.write_text(yaml.safe_dump(known))

    (old,), new = lists(box)["crypto"]["crypto-service"], "another-password-for-the-test-0123456789"
    word = ("--data", "rotate=crypto:crypto-service")
    for options, yes in ((word, True), (("--dry", *word), False)):
        done = run(*options, yes=yes)
        assert (done.returncode != 0) == yes
        assert "crypto: {crypto-service: [NEW PASSWORD, PRESENT PASSWORD]}" in output(done)
        assert old not in output(done)
    put(new, old)
    done = run(*word)
    assert done.returncode == 0, output(done)
    assert let_in(box, "crypto", "crypto-service", new, old) == [True, True]
    done = run("--data", "rotate_finish=crypto:crypto-service")
    assert done.returncode != 0
    assert "crypto: {crypto-service: FIRST PASSWORD}" in output(done)
    put(new)
    done = run("--data", "rotate_finish=crypto:crypto-service")
    assert done.returncode == 0, output(done)
    assert let_in(box, "crypto", "crypto-service", new, old) == [True, False]

    put(old, new)  # and back to what the file of the other tests has
    assert run().returncode == 0
    put(old)
    done = run("--data", "rotate_finish=crypto:crypto-service")
    assert done.returncode == 0, output(done)
    assert yaml.safe_load(store.read_text()) == yaml.safe_load(box.secrets.read_text())


def test_rotate_a_password(box: Tier, tmp_path: Path) -> None:
    entry = entries()["rotate-a-password"]
    (there,) = entry.quotes
    commands = [item.replace("=DIR", f"={tmp_path / 'DIR'}") for item in entry.commands]
    rotate, endpoints, finish, undo, again, verify = commands
    with services(box, "crypto") as old:
        succeeds(box, rotate, endpoints)
        both = lists(box)["crypto"]["crypto-service"]
        assert both[0] in (tmp_path / "DIR" / "crypto-service.env").read_text()
        refused = run(box, finish)
        assert refused.returncode != 0
        printed = " ".join(output(refused).split())
        assert re.search(".*?".join(map(re.escape, fragments(there))), printed), printed
        assert undisturbed(old) > 0
    succeeds(box, finish)
    assert let_in(box, "crypto", "crypto-service", *both) == [True, False]
    succeeds(box, undo)
    assert let_in(box, "crypto", "crypto-service", *both) == [True, True]
    succeeds(box, again, verify)
    assert let_in(box, "crypto", "crypto-service", *both) == [True, False]


def succeeds(tier: Tier, *commands: str) -> None:
    for command in commands:
        done = run(tier, command)
        assert done.returncode == 0, output(done)
