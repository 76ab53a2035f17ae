"""A tier that runs: what keeps it running, what a deploy repairs, and that a broken promise fails the proof."""

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import redis
import yaml

from tests.hosts.clients import can_connect
from tests.hosts.conftest import INNER_PORT, ROLES, TABLE, Tier, operations, output, wait_for
from tests.hosts.every_way import kept
from tests.lab.container import Container
from tests.tree import copy_of_tree

pytestmark = pytest.mark.hosts


def active(host: Container, role: str) -> bool:
    return host.sh(f"systemctl is-active redis-{role}.service", check=False).strip() == "active"


# --- Units


def test_a_killed_server_comes_back_with_every_acknowledged_write(onebox: Tier) -> None:
    for role in ("gateway", "crypto"):
        with kept(onebox, role):
            before = onebox.pid(role)
            onebox.host(role).sh(f"kill -9 {before}")
            wait_for(lambda role=role: onebox.answers(role), f"{role} answers again")  # type: ignore[misc]
            assert onebox.pid(role) != before


def test_an_instance_waits_for_an_address_that_comes_late(onebox: Tier) -> None:
    host = onebox.host("socket")
    host.sh("systemctl stop redis-socket; ip addr del 172.28.2.2/24 dev host0")
    try:
        host.sh("systemctl start --no-block redis-socket")
        wait_for(lambda: int(host.sh("systemctl show -P NRestarts redis-socket")) >= 3, "three attempts without it")
        assert not active(host, "socket")
    finally:
        host.sh("ip addr add 172.28.2.2/24 dev host0")
    wait_for(lambda: active(host, "socket"), "the unit becomes active once the address is there")
    assert onebox.answers("socket")
    host.sh("systemctl reset-failed redis-socket")  # its attempts are no crashes
    onebox.deploy()


def test_no_role_sees_another_roles_data(onebox: Tier) -> None:
    for role in ROLES:
        seen = onebox.host(role).sh(f"ls /proc/{onebox.pid(role)}/root/var/lib/redis").split()
        assert seen == [role]


def test_no_role_has_a_writable_configuration(onebox: Tier) -> None:
    with onebox.operator("gateway") as client, pytest.raises(redis.exceptions.ResponseError):
        client.config_rewrite()


def test_a_server_may_open_a_descriptor_for_every_client_it_admits(onebox: Tier) -> None:
    for role in ROLES:
        limits = onebox.host(role).sh(f"grep 'open files' /proc/{onebox.pid(role)}/limits")
        with onebox.operator(role) as client:
            assert int(limits.split()[3]) >= int(client.config_get("maxclients")["maxclients"]) + 32


def test_no_time_limit_can_cut_a_start_or_stop_short(onebox: Tier) -> None:
    for role in ROLES:
        text = onebox.host(role).sh(f"systemctl show -p TimeoutStartUSec,TimeoutStopUSec,Type redis-{role}.service")
        assert set(text.split()) == {"TimeoutStartUSec=infinity", "TimeoutStopUSec=infinity", "Type=notify"}


def test_a_stopped_instance_writes_everything_and_starts_with_it(onebox: Tier) -> None:
    with kept(onebox, "shared"):
        onebox.host("shared").sh("systemctl stop redis-shared && systemctl start redis-shared")


def test_a_reboot_brings_everything_back(onebox: Tier) -> None:
    host = onebox.lab.hosts["redis-1"]
    with kept(onebox, *ROLES):
        host.stop()
        host.boot()
        wait_for(lambda: all(onebox.answers(role) for role in ROLES), "every role answers after the reboot", 60)
        done = onebox.run("tasks/verify.py")
    assert done.returncode == 0, output(done)


# --- Changes


def test_a_setting_changes_live_and_in_the_file_without_a_restart(onebox: Tier) -> None:
    before = onebox.pid("gateway")
    change = ("--data", 'redis_overrides={"gateway": {"maxmemory": "300mb", "save": "900 1"}}')
    done = onebox.deploy(*change)
    assert "Restart" not in output(done)
    with onebox.operator("gateway") as client:
        assert client.config_get("maxmemory")["maxmemory"] == str(300 << 20)
        assert client.config_get("save")["save"] == "900 1"
    text = onebox.host("gateway").sh("cat /etc/redis/gateway.conf")
    assert f"maxmemory {300 << 20}\n" in text
    assert "save 900 1\n" in text
    assert onebox.deploy_json(*change)["results"]["totals"]["success"] == 0
    onebox.deploy()
    assert onebox.pid("gateway") == before


def test_a_directive_that_needs_a_restart_restarts_its_instance_only(onebox: Tier) -> None:
    before = {role: onebox.pid(role) for role in ROLES}
    change = ("--data", 'redis_overrides={"crypto": {"databases": 32}}')
    plan = output(onebox.run("deploy.py", "--dry", *change, yes=False))
    assert "1 instance will restart: crypto on redis-1" in plan
    with kept(onebox, "crypto"):
        done = onebox.deploy(*change)
        assert "Restart instances one at a time" in operations(done)
        with onebox.operator("crypto") as client:
            assert client.config_get("databases")["databases"] == "32"
    assert {role for role in ROLES if onebox.pid(role) != before[role]} == {"crypto"}
    onebox.deploy()


def test_another_address_and_port_are_taken_live(onebox: Tier) -> None:
    before = onebox.pid("shared")
    change = ("--data", 'redis_overrides={"shared": {"port": 7381}}')
    onebox.deploy(*change)
    assert can_connect(onebox.lab.netns, "172.28.2.3", 7381)
    assert can_connect(onebox.lab.netns, "172.28.2.3", INNER_PORT)
    assert not can_connect(onebox.lab.netns, "172.28.2.3", 6381)
    onebox.deploy()
    assert can_connect(onebox.lab.netns, "172.28.2.3", 6381)
    assert onebox.pid("shared") == before


def test_a_new_password_takes_effect_without_cutting_anybody(onebox: Tier) -> None:
    kept = onebox.secrets.read_text()
    with onebox.client("socket", "socket-service-1") as connected:
        connected.ping()
        data = yaml.safe_load(kept)
        data["socket"]["socket-service-1"] = "another-password-for-the-test"
        onebox.secrets.write_text(yaml.safe_dump(data))
        try:
            onebox.deploy("--data", "new_passwords=socket")
            assert connected.connection_pool  # the same connection as before the change
            assert connected.ping()
            with onebox.client("socket", "socket-service-1") as client:
                assert client.ping()
        finally:
            onebox.secrets.write_text(kept)
            onebox.deploy("--data", "new_passwords=socket")


def test_without_an_inner_port_nothing_of_it_is_left(onebox: Tier) -> None:
    rows = ", ".join(f'"{role}": {{"inner_port": null}}' for role in ROLES)
    change = ("--data", f"redis_overrides={{{rows}}}")
    onebox.deploy(*change)
    host = onebox.lab.hosts["redis-1"]
    assert host.sh("nft list tables") == ""
    assert (
        host.sh("ls /etc/redis/inner-port.nft /etc/systemd/system/*/redis-inner-port.service 2>/dev/null || true") == ""
    )
    assert host.sh("systemctl show -P LoadState redis-inner-port.service").strip() == "not-found"
    assert not can_connect(onebox.lab.netns, "172.28.2.2", INNER_PORT)
    assert can_connect(onebox.lab.netns, "172.28.2.1", INNER_PORT)  # gateway's assigned port
    assert onebox.deploy_json(*change)["results"]["totals"]["success"] == 0
    onebox.deploy()
    assert can_connect(onebox.lab.netns, "172.28.2.2", INNER_PORT)


def test_the_order_of_the_catalogue_means_nothing(onebox: Tier, tmp_path: Path) -> None:
    copy = copy_of_tree(tmp_path / "repository")
    file = copy / "group_data" / "roles.yaml"
    data = yaml.safe_load(file.read_text())
    turned = {key: dict(reversed(list(data[key].items()))) for key in reversed(list(data))}
    turned["roles"] = {name: dict(reversed(list(role.items()))) for name, role in turned["roles"].items()}
    file.write_text(yaml.safe_dump(turned, sort_keys=False, allow_unicode=True))
    elsewhere = Tier(onebox.lab, onebox.inventory, onebox.secrets, repository=copy)
    assert elsewhere.deploy_json()["results"]["totals"]["success"] == 0


# --- Secrets


def test_no_password_or_hash_is_ever_in_an_argument_list_or_in_the_output(onebox: Tier) -> None:
    host = onebox.lab.hosts["redis-1"]
    host.sh("rm -f /etc/redis/*.acl; touch /run/sampling")
    sampler = threading.Thread(
        target=host.sh,
        args=("while [ -e /run/sampling ]; do cat /proc/[0-9]*/cmdline; sleep 0.01; done >/run/sampled 2>/dev/null",),
    )
    sampler.start()
    try:
        done = onebox.run("deploy.py", "-vvv", "--debug", "--diff")
    finally:
        host.sh("rm /run/sampling")
        sampler.join()
    assert done.returncode == 0, output(done)
    hashes = set(re.findall(r"#([0-9a-f]{64})", host.sh("cat /etc/redis/*.acl")))
    assert len(hashes) == sum(len(row["services"]) + 1 for row in TABLE.values())
    secrets = hashes | {word for users in onebox.passwords.values() for word in users.values()}
    said = output(done) + host.sh("cat /run/sampled; journalctl --no-pager -o cat; rm /run/sampled")
    assert "redis-crypto.service" in said
    assert [secret for secret in secrets if secret in said] == []


# --- The proof can fail


@contextmanager
def broken(tier: Tier, break_it: str, mend_it: str = "true") -> Iterator[None]:
    host = tier.lab.hosts["redis-1"]
    host.sh(break_it)
    try:
        yield
    finally:
        host.sh(mend_it)
        tier.deploy()


@pytest.mark.parametrize(
    ("break_it", "words"),
    [
        ("systemctl stop redis-inner-port", ("unit redis-inner-port.service: inactive → active",)),
        ("systemctl stop redis-crypto", ("crypto: unit redis-crypto.service: inactive → active",)),
        ("rm /etc/redis/gateway.conf", ("gateway: file /etc/redis/gateway.conf: absent",)),
        ("chmod 644 /etc/redis/shared.acl", ("shared: file /etc/redis/shared.acl: file root:redis-shared 0644",)),
        ("systemctl disable --quiet redis-shared", ("shared: unit redis-shared.service: disabled → enabled",)),
    ],
)
def test_the_proof_names_what_is_broken_on_a_host(onebox: Tier, break_it: str, words: tuple[str, ...]) -> None:
    with broken(onebox, break_it):
        done = onebox.run("tasks/verify.py")
        assert done.returncode != 0
        for text in words:
            assert f"redis-1: {text}" in output(done), output(done)


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("CONFIG SET appendonly no", "compliance: live: appendonly no → yes"),
        ("CONFIG SET maxmemory-policy allkeys-lru", "compliance: live: maxmemory-policy allkeys-lru → noeviction"),
        ("ACL SETUSER compliance-service +config", "compliance: compliance-service asks CONFIG GET port on"),
        (
            "ACL SETUSER default on nopass +@all ~*",
            "compliance: acl default: open to everybody: 172.28.2.4:6382 closed the connection: DENIED",
        ),
        ("ACL SETUSER compliance-service -set", "compliance: compliance-service writes plainly on"),
        ("ACL SETUSER compliance-service off", "compliance: compliance-service logs in on"),
        ("ACL SETUSER stranger on >x +@all", "compliance: acl stranger: a user → no such user"),
        ("CONFIG SET bind 0.0.0.0", "compliance: live: bind 0.0.0.0 → 172.28.2.4"),
    ],
)
def test_the_proof_names_what_is_broken_in_a_server(onebox: Tier, command: str, words: str) -> None:
    with onebox.operator("compliance") as client:
        client.execute_command(*command.split())
    try:
        done = onebox.run("tasks/verify.py")
        assert done.returncode != 0
        assert f"redis-1: {words}" in output(done), output(done)
    finally:
        onebox.deploy()


def test_a_redis_that_belongs_to_no_role_fails_the_proof(onebox: Tier) -> None:
    start = "systemd-run --quiet --unit=rogue redis-server --port 7000 --bind 172.28.2.1 --protected-mode no"
    with broken(
        onebox,
        f"{start}; timeout 10 sh -c 'until ss -Hltn | grep -q :7000; do sleep 0.1; done'",
        "systemctl stop rogue",
    ):
        done = onebox.run("tasks/verify.py")
        assert done.returncode != 0
        assert "redis-1: listener 172.28.2.1:7000: redis-server, pid" in output(done)


def test_a_wrong_password_in_the_secrets_file_fails_the_proof(onebox: Tier) -> None:
    kept = onebox.secrets.read_text()
    data = yaml.safe_load(kept)
    data["crypto"]["crypto-service"] = "not-the-right-one"
    onebox.secrets.write_text(yaml.safe_dump(data))
    try:
        done = onebox.run("tasks/verify.py")
    finally:
        onebox.secrets.write_text(kept)
    assert done.returncode != 0
    assert "crypto: crypto-service logs in on 172.28.2.5:6383: observed error WRONGPASS" in output(done)
    assert "not-the-right-one" not in output(done)


def test_a_redis_of_the_operator_s_is_refused_first_and_stays_once_it_is_named(onebox: Tier) -> None:
    host = onebox.host("gateway")
    host.sh(
        "systemd-run --quiet --unit=cache -p User=redis -p Type=notify "
        "redis-server --bind 127.0.0.1 --port 7000 --save '' --supervised systemd"
    )
    try:
        done = onebox.run("deploy.py")
        assert done.returncode != 0
        assert "Nothing was changed" in output(done)
        assert "listener 127.0.0.1:7000: redis-server, pid" in output(done)
        for name in ("cache.service", "127.0.0.1:7000"):
            named = ("--data", f'redis_ignore=["{name}"]')
            assert onebox.deploy_json(*named)["results"]["totals"]["success"] == 0
            assert onebox.run("tasks/drift.py", *named).returncode == 0
        assert host.sh("systemctl is-active cache.service") == "active\n"
    finally:
        host.sh("systemctl stop cache.service")
    onebox.deploy()
