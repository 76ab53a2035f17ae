"""A secrets file that is lost, empty, of another tier, or edited: no password is replaced unless it is asked for."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import redis
import yaml

from tests.hosts.clients import client
from tests.hosts.conftest import TABLE, Tier, operations, output, overriding, two_roles, wait_for
from tests.lab.container import Container

pytestmark = pytest.mark.hosts

CARRIED = ("gateway", "crypto")
USERS = {role: (*TABLE[role]["services"], "operator") for role in CARRIED}
KEYS = {f"kept:{number}": str(number) for number in range(200)}
NEW = ("--data", "new_passwords=gateway,crypto")


@pytest.fixture(scope="module")
def box(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tier]:
    """Two roles on one host, deployed, with keys in them; every test leaves it with its first passwords."""
    with two_roles(tmp_path_factory.mktemp("passwords"), *CARRIED) as tier:
        for role in CARRIED:
            with tier.operator(role) as known:
                assert known.mset(KEYS)
        yield tier


@dataclass(frozen=True)
class Before:
    """What must be the same after a run that was refused."""

    pids: dict[str, int]
    files: str
    passwords: dict[str, dict[str, str]]

    @staticmethod
    def of(tier: Tier) -> "Before":
        files = tier.host("gateway").sh("sha256sum /etc/redis/*.acl")
        return Before({role: tier.pid(role) for role in CARRIED}, files, tier.passwords)

    def still_holds(self, tier: Tier) -> None:
        assert {role: tier.pid(role) for role in CARRIED} == self.pids
        assert tier.host("gateway").sh("sha256sum /etc/redis/*.acl") == self.files
        for role in CARRIED if all(self.pids.values()) else ():
            for user in USERS[role]:
                with logged_in(tier, role, user, self.passwords[role][user]) as known:
                    assert known.get("kept:7") == "7"
            with logged_in(tier, role, "operator", self.passwords[role]["operator"]) as known:
                assert known.dbsize() == len(KEYS)


def logged_in(tier: Tier, role: str, user: str, password: str) -> "redis.Redis":
    row = TABLE[role]
    return client(tier.lab.netns, row["address"], row["port"], user, password, every_right=user == "operator")


@contextmanager
def secrets_instead(tier: Tier, text: str | None) -> Iterator[None]:
    """The secrets file holds other text, or is not there."""
    kept = tier.secrets.read_text()
    if text is None:
        tier.secrets.unlink()
    else:
        tier.secrets.write_text(text)
    try:
        yield
    finally:
        tier.secrets.write_text(kept)
        tier.secrets.chmod(0o600)


def of_another_tier() -> str:
    return yaml.safe_dump({role: {user: f"other-{role}-{user}" for user in USERS[role]} for role in CARRIED})


LOST = {"missing": None, "empty": "", "of another tier": of_another_tier()}


@pytest.mark.parametrize("text", LOST.values(), ids=LOST)
def test_no_password_is_replaced_and_nothing_restarts_without_the_file(box: Tier, text: str | None) -> None:
    before = Before.of(box)
    with secrets_instead(box, text):
        for options, yes in (((), True), (("--dry",), False)):
            done = box.run("deploy.py", *options, yes=yes)
            assert done.returncode != 0
            for role in CARRIED:
                (said,) = [line for line in output(done).splitlines() if f"redis-1: {role}: " in line]
                assert str(box.secrets) in said
                assert f"--data new_passwords={role}" in said
        assert (box.secrets.read_text() if box.secrets.exists() else None) == text
    before.still_holds(box)


@pytest.mark.parametrize("text", [None, ""], ids=["missing", "empty"])
def test_drift_says_that_it_does_not_know_and_nothing_of_a_restart(box: Tier, tmp_path: Path, text: str | None) -> None:
    report = tmp_path / "drift.json"
    with secrets_instead(box, text):
        done = box.run("tasks/drift.py", "--data", f"drift_report={report}")
        assert done.returncode != 0
        assert not box.secrets.exists() or box.secrets.read_text() == ""
    host: dict[str, Any] = json.loads(report.read_text())["hosts"]["redis-1"]
    assert (host["status"], host["differences"]) == ("error", [])
    assert {item["role"] for item in host["unknown"]} == set(CARRIED)


DROP_IN = "/run/systemd/system/redis-crypto.service.d/test.conf"


def crash_loop(host: Container) -> None:
    """Its process ends as soon as it is started; systemd tries again, also in the midst of a deploy."""
    host.sh(f"mkdir -p $(dirname {DROP_IN}); printf '[Service]\\nExecStartPre=/bin/false\\n' >{DROP_IN}")
    host.sh("systemctl daemon-reload; systemctl restart --no-block redis-crypto")
    wait_for(lambda: host.sh("systemctl show -P NRestarts redis-crypto").strip() != "0", "it crashes")


def opened(tier: Tier) -> None:
    """Somebody let everybody in, and protected mode turns everybody away since."""
    with tier.operator("crypto") as known:
        known.execute_command("ACL", "SETUSER", "default", "on", "nopass")


SILENT = {
    "stopped": lambda tier: tier.host("crypto").sh("systemctl stop redis-crypto"),
    "crash-looping": lambda tier: crash_loop(tier.host("crypto")),
    "opened": opened,
}


@pytest.mark.parametrize("silence", SILENT.values(), ids=SILENT)
def test_an_instance_that_does_not_answer_gets_no_new_passwords_either(
    box: Tier, silence: Callable[[Tier], object]
) -> None:
    host = box.host("crypto")
    files, passwords = host.sh("sha256sum /etc/redis/*.acl"), box.passwords
    silence(box)
    for text, words in (
        (None, "has no password for crypto-service, operator, and the instance has one"),
        (of_another_tier(), "crypto: crypto-service, operator: /etc/redis/crypto.acl has another password than"),
    ):
        with secrets_instead(box, text):
            done = box.run("deploy.py", "--dry", yes=False)
            assert done.returncode != 0
            assert words in output(done)
            done = box.run("deploy.py")
            assert done.returncode != 0
            assert words in output(done)
    assert host.sh("sha256sum /etc/redis/*.acl") == files

    # Its own file is taken, other rules in the ACL file need no word, and it is mended.
    host.sh(f"rm -f {DROP_IN}; systemctl daemon-reload; sed -i '/crypto-service/s/ +info//' /etc/redis/crypto.acl")
    done = box.deploy()
    assert ("Keep failing units down" in operations(done)) == ("activating (" in output(done))
    assert host.sh("sha256sum /etc/redis/*.acl") == files
    assert box.passwords == passwords
    with box.operator("crypto") as known:
        assert known.dbsize() == len(KEYS)


def test_a_second_line_of_default_is_seen_and_mended_without_a_restart(box: Tier, tmp_path: Path) -> None:
    host, before, report = box.host("crypto"), Before.of(box), tmp_path / "drift.json"
    host.sh("echo 'user default on nopass ~* &* +@all' >>/etc/redis/crypto.acl")
    with box.operator("crypto") as known, pytest.raises(redis.exceptions.ResponseError, match="uplicate user"):
        known.acl_load()
    for text in (box.secrets.read_text(), ""):
        with secrets_instead(box, text):
            assert box.run("tasks/drift.py", "--data", f"drift_report={report}").returncode != 0
        assert "named twice: no start would take the file" in report.read_text()
    box.deploy()
    before.still_holds(box)


def test_a_rule_that_leads_to_another_server_is_named_and_not_the_secrets_file(box: Tier) -> None:
    host, before = box.host("crypto"), Before.of(box)
    crypto, gateway = TABLE["crypto"], TABLE["gateway"]
    rule = f"ip daddr {crypto['address']} tcp dport {crypto['port']} dnat to {gateway['address']}:{gateway['port']}"
    host.sh(f"nft 'table ip other {{ chain out {{ type nat hook output priority -110; {rule}; }}; }}'")
    try:
        for options, yes in (((), True), (("--dry",), False)):
            done = box.run("deploy.py", *options, yes=yes)
            assert done.returncode != 0
            assert f"table other: {rule}" in output(done)
            assert "bring the secrets file back" not in output(done)
    finally:
        host.sh("nft delete table ip other")
    before.still_holds(box)
    assert box.deploy_json()["results"]["totals"]["success"] == 0


def test_one_lost_line_is_named(box: Tier) -> None:
    before, data = Before.of(box), box.passwords
    del data["crypto"]["crypto-service"]
    with secrets_instead(box, yaml.safe_dump(data)):
        done = box.run("deploy.py")
        assert done.returncode != 0
        assert "crypto: " + str(box.secrets) + " has no password for crypto-service, and" in output(done)
        assert "gateway: " + str(box.secrets) not in output(done)
    before.still_holds(box)


def test_an_edited_password_is_taken_only_when_it_is_meant(box: Tier) -> None:
    before, data = Before.of(box), box.passwords
    data["gateway"]["auth-service"] = "another-password-for-the-test"
    with secrets_instead(box, yaml.safe_dump(data)):
        done = box.run("deploy.py")
        assert done.returncode != 0
        assert "gateway: auth-service: the running server has another password" in output(done)
        before.still_holds(box)
        assert box.run("tasks/drift.py").returncode != 0
        box.deploy("--data", "new_passwords=gateway")
        with box.client("gateway", "auth-service") as known:
            assert known.ping()
    box.deploy("--data", "new_passwords=gateway")
    before.still_holds(box)


def test_a_service_that_is_added_gets_a_password_without_being_asked_and_goes_again(box: Tier) -> None:
    before = Before.of(box)
    more = overriding({"crypto": {"services": ["crypto-service", "audit-service"]}})
    box.deploy(*more)
    with box.client("crypto", "audit-service") as known:
        assert known.ping()
    assert {role: box.pid(role) for role in CARRIED} == before.pids
    box.deploy()
    with box.operator("crypto") as known:
        assert known.acl_users() == ["crypto-service", "default", "operator"]
    before.still_holds(box)


def test_new_passwords_are_given_to_the_roles_that_are_named_by_a_restart(box: Tier) -> None:
    before = Before.of(box)
    with secrets_instead(box, None):
        plan = output(box.run("deploy.py", "--dry", *NEW, yes=False))
        assert "2 instances will restart: crypto on redis-1, gateway on redis-1" in plan
        assert not box.secrets.exists()
        done = box.run("deploy.py", "--data", "new_passwords=crypto")
        assert done.returncode != 0
        assert "redis-1: crypto: " not in output(done)
        before.still_holds(box)
        box.deploy(*NEW)
        for role in CARRIED:
            assert box.pid(role) != before.pids[role]
            for user in USERS[role]:
                assert box.passwords[role][user] != before.passwords[role][user]
                with box.client(role, user, every_right=user == "operator") as known:
                    assert known.get("kept:7") == "7"
        assert box.deploy_json()["results"]["totals"]["success"] == 0
    box.deploy(*NEW)
    for role in CARRIED:
        with box.operator(role) as known:
            assert known.dbsize() == len(KEYS)


def test_an_operator_whose_password_was_changed_is_let_in_again_when_it_is_asked_for(box: Tier) -> None:
    with box.operator("crypto") as known:
        known.execute_command("ACL", "SETUSER", "operator", "resetpass", ">somebody-s-own")
    before = box.pid("crypto")
    done = box.run("deploy.py")
    assert done.returncode != 0
    assert "crypto: operator: the running server refuses the password" in output(done)
    assert "which /etc/redis/crypto.acl has, expected the same in both: somebody changed" in output(done)
    assert "secrets file back" not in output(done)
    assert box.pid("crypto") == before
    box.deploy("--data", "new_passwords=crypto")
    wait_for(lambda: box.answers("crypto"), "its operator logs in")
    with box.operator("crypto") as known:
        assert known.dbsize() == len(KEYS)
