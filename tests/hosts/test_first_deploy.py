"""From bare Debian to the tier, on every kind of host: 12 and 13, one role or all five, as root or with sudo."""

import json
import re
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from tests.hosts.clients import can_connect
from tests.hosts.conftest import INNER_PORT, ROLES, TABLE, Tier, layout, operations, output, overriding
from tests.lab.container import Container
from tests.lab.containers import ContainerLab
from tests.lab.debian import Suite

pytestmark = pytest.mark.hosts

AS_ADMIN = ("--ssh-user", "admin", "--sudo")
KINDS: dict[str, tuple[Suite, str, tuple[str, ...]]] = {
    "debian 12, a host per role, root": ("bookworm", "prod", ()),
    "debian 13, a host per role, sudo": ("trixie", "prod", AS_ADMIN),
    "debian 12, one host, sudo": ("bookworm", "onebox", AS_ADMIN),
    "debian 13, one host, root": ("trixie", "onebox", ()),
}
# The others repeat: as root nearly all other tests deploy, test_runbook_changes a host per role of Debian 12, and
# test_drift one host of Debian 13.
SHORT = ("debian 13, a host per role, sudo", "debian 12, one host, sudo")
PARAMS = [pytest.param(kind, id=name, marks=[] if name in SHORT else pytest.mark.soak) for name, kind in KINDS.items()]


@pytest.fixture(scope="module", params=PARAMS)
def bare(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tier]:
    suite, name, options = request.param
    with ContainerLab(layout(name, suite)) as lab:
        yield Tier(lab, f"inventory/{name}.py", tmp_path_factory.mktemp("tier") / "secrets.yaml", options)


@pytest.fixture(scope="module")
def tier(bare: Tier) -> Tier:
    """The same hosts after their first deploy."""
    bare.deploy()
    return bare


def test_a_dry_run_on_bare_hosts_lists_everything_and_changes_nothing(bare: Tier) -> None:
    before = {name: fingerprint(host) for name, host in bare.lab.hosts.items()}
    done = bare.run("deploy.py", "--dry", "-v", yes=False)
    assert done.returncode == 0, output(done)
    for text in ("redis-server: not installed → installed", "redis-crypto.service: inactive → active", "Install Redis"):
        assert text in output(done)
    changed = {name: fingerprint(host) ^ before[name] for name, host in bare.lab.hosts.items()}
    assert not any(changed.values()), changed
    assert not bare.secrets.exists()


def fingerprint(host: Container) -> set[str]:
    """Every file of the host with its size, times and owner, but for logs and what a login or sudo itself leaves."""
    skipped = " -o ".join(
        f"-path {path}" for path in ("/proc", "/sys", "/run", "/dev", "/home", "/var/log", "/var/lib/systemd")
    )
    return set(host.sh(rf"find / \( {skipped} \) -prune -o -printf '%p %s %T@ %C@ %m %u %g\n'").splitlines())


def test_the_first_deploy_ends_with_the_proof(tier: Tier) -> None:
    assert tier.secrets.exists()


def test_the_second_deploy_only_verifies(tier: Tier) -> None:
    result = tier.deploy_json()
    assert [row["name"] for row in result["results"]["operations"]] == ["Prove the tier"]
    assert result["results"]["totals"]["success"] == 0
    assert result["results"]["totals"]["error"] == 0
    assert [row for row in result["plan"] if row["hosts_with_change"]] == []


def test_a_dry_run_on_a_right_tier_lists_nothing(tier: Tier) -> None:
    done = tier.run("deploy.py", "--dry", yes=False)
    assert "nothing to change" in output(done)
    assert operations(done) == []


@pytest.mark.parametrize("role", ROLES)
def test_every_service_reads_and_writes_on_both_ports(tier: Tier, role: str) -> None:
    for service in TABLE[role]["services"]:
        for port in {TABLE[role]["port"], INNER_PORT}:
            with tier.client(role, service, port) as client:
                assert client.set("test:key", service, ex=30)
                assert client.get("test:key") == service
                assert client.delete("test:key")


@pytest.mark.parametrize("role", ROLES)
def test_no_service_administers(tier: Tier, role: str) -> None:
    for service in TABLE[role]["services"]:
        with tier.client(role, service) as client:
            for command in ("CONFIG GET *", "FLUSHALL", "KEYS *", "ACL LIST", "SHUTDOWN NOSAVE", "CLIENT LIST"):
                with pytest.raises(redis.exceptions.NoPermissionError):
                    client.execute_command(*command.split())  # type: ignore[no-untyped-call]


@pytest.mark.parametrize("role", ROLES)
def test_nobody_enters_without_the_right_password(tier: Tier, role: str) -> None:
    with tier.client(role) as stranger, pytest.raises(redis.exceptions.AuthenticationError):
        stranger.ping()
    others = next(
        name for name in ROLES if name != role and set(TABLE[name]["services"]).isdisjoint(TABLE[role]["services"])
    )
    foreign = TABLE[others]["services"][0]
    with tier.client(role) as client, pytest.raises(redis.exceptions.AuthenticationError):
        client.execute_command("AUTH", foreign, tier.passwords[others][foreign])
    with tier.client(role) as client, pytest.raises(redis.exceptions.AuthenticationError):
        client.execute_command("AUTH", TABLE[role]["services"][0], "wrong")


def test_what_auth_service_writes_gateway_reads_at_once(tier: Tier) -> None:
    with tier.client("gateway", "auth-service") as writer, tier.client("gateway", "gateway", INNER_PORT) as reader:
        for number in range(100):
            writer.set("test:session", number)
            assert reader.get("test:session") == str(number)
        writer.delete("test:session")


@pytest.mark.parametrize("role", ROLES)
def test_the_servers_say_what_the_table_says(tier: Tier, role: str) -> None:
    table = {
        "gateway": ("256", "allkeys-lru", "everysec", ""),
        "socket": ("512", "volatile-lru", "everysec", ""),
        "shared": ("512", "allkeys-lru", "everysec", ""),
        "compliance": ("256", "noeviction", "always", "3600 1 300 100 60 10000"),
        "crypto": ("256", "noeviction", "always", "3600 1 300 100 60 10000"),
    }
    with tier.operator(role) as client:
        config = client.config_get("*")
        assert (
            str(int(config["maxmemory"]) >> 20),
            config["maxmemory-policy"],
            config["appendfsync"],
            config["save"],
        ) == table[role]
        assert config["appendonly"] == "yes"
        assert client.info("persistence")["aof_enabled"] == 1


def test_nothing_of_a_role_listens_elsewhere(tier: Tier) -> None:
    for host in tier.lab.hosts.values():
        found = set(re.findall(r"(\S+):(\d+)\s+\S+\s+users:\(\(\"redis-server", host.sh("ss -Hltnp")))
        wanted = {(TABLE[role]["address"], str(TABLE[role]["port"])) for role in ROLES if tier.host(role) is host}
        assert found == wanted


def test_an_inner_port_reaches_the_instance_of_its_own_address(tier: Tier) -> None:
    for role in ROLES:
        with tier.operator(role) as assigned, tier.client(role, "operator", INNER_PORT) as inner:
            assert assigned.info("server")["run_id"] == inner.info("server")["run_id"]


def test_a_role_does_not_answer_on_another_roles_port(tier: Tier) -> None:
    for role in ROLES:
        for port in {row["port"] for row in TABLE.values()} - {TABLE[role]["port"], INNER_PORT}:
            assert not can_connect(tier.lab.netns, TABLE[role]["address"], port)


def test_the_packaged_service_never_ran(tier: Tier) -> None:
    for host in tier.lab.hosts.values():
        assert host.sh("systemctl is-enabled redis-server.service", check=False).strip() == "masked"
        assert "Start" not in host.sh("journalctl --no-pager -o cat -u redis-server.service -u redis.service")


def test_passwords_stay_on_the_controller_and_their_file_is_private(tier: Tier) -> None:
    assert stat.S_IMODE(tier.secrets.stat().st_mode) == 0o600
    assert {role: set(users) for role, users in tier.passwords.items()} == {
        role: {*row["services"], "operator"} for role, row in TABLE.items()
    }
    secrets = [password for users in tier.passwords.values() for password in users.values()]
    assert len(set(secrets)) == len(secrets)
    wanted = "\n".join(secrets)
    for host in tier.lab.hosts.values():
        found = host.sh("grep -rlFf - /etc /var /run /tmp /root /home 2>/dev/null || true", input=wanted)
        assert found == ""


def test_the_check_leaves_nothing_behind(tier: Tier) -> None:
    done = tier.run("tasks/verify.py")
    assert done.returncode == 0, output(done)
    for role in ROLES:
        with tier.operator(role) as client:
            assert client.dbsize() == 0


def test_our_unit_is_exposed_no_more_than_debians(tier: Tier) -> None:
    for role in ROLES:
        text = tier.host(role).sh(
            "cd /tmp; systemd-analyze security --no-pager --offline=true /usr/lib/systemd/system/redis-server.service"
            " | tail -n1; systemd-analyze security --no-pager --offline=true "
            f"/etc/systemd/system/redis-{role}.service | tail -n1"
        )
        debian, ours = (float(number) for number in re.findall(r"(\d+\.\d+) ", text))
        assert ours <= debian


def test_a_container_reports_its_kernel_and_changes_nothing_of_it(tier: Tier) -> None:
    host = next(iter(tier.lab.hosts.values()))
    assert "vm.overcommit_memory is" in output(tier.run("deploy.py", "--dry", yes=False))
    assert host.sh("ls /etc/sysctl.d/60-redis.conf /etc/tmpfiles.d/60-redis-thp.conf 2>/dev/null || true") == ""


# --- What a service may do, on each Debian (its Redis answers in words of its own)


MAY = "+@all -@admin -@dangerous +info"
LESS: dict[str, dict[str, Any]] = {
    "gateway": {
        "databases": 17,  # a restart, behind its gate
        "services": {
            "gateway": {"keys": ["session:*"], "channels": ["news:*"], "scripts": False, "functions": False},
            "auth-service": {"commands": f"{MAY} -@write"},
        },
    },
    "crypto": {
        "keys": ["key:*"],
        "services": {"crypto-service": {"commands": f"-@all +@read +@fast +@connection {MAY[5:]}"}},
    },
}
LIBRARY = "#!lua name=mine\nredis.register_function('mine', function() return 1 end)"
ADMINISTRATION = (
    "FUNCTION FLUSH",
    "FUNCTION DELETE mine",
    "FUNCTION STATS",
    "SCRIPT FLUSH",
    "SCRIPT KILL",
    "SCRIPT HELP",
)


@pytest.fixture
def one_box(tier: Tier) -> Tier:
    """One host for each Debian is enough."""
    if tier.inventory != "inventory/onebox.py":
        pytest.skip("seen on the other hosts of this Debian")
    return tier


def refused(client: "redis.Redis", *commands: str) -> bool:
    """Whether none of these commands is allowed."""
    for command in commands:
        with pytest.raises(redis.exceptions.NoPermissionError):
            client.execute_command(*command.split())  # type: ignore[no-untyped-call]
    return True


def test_a_service_runs_scripts_and_functions_and_administers_neither(one_box: Tier) -> None:
    with one_box.client("shared", "operator") as operator, one_box.client("shared", "media-service") as service:
        operator.function_load(LIBRARY, replace=True)
        assert refused(service, *ADMINISTRATION)
        with pytest.raises(redis.exceptions.NoPermissionError):
            service.function_load(LIBRARY, replace=True)
        sha = service.script_load("return 7")
        assert (service.script_exists(sha), service.evalsha(sha, 0), service.fcall("mine", 0)) == ([True], 7, 1)
        operator.function_delete("mine")


# What the tool sends as operator, and what its words and README tell a person to send; each does nothing here.
SENT = (
    *("PING", "INFO everything", "CONFIG GET *", "CONFIG SET hz 10", "CONFIG RESETSTAT", "CLIENT LIST", "ACL LOG"),
    *("ACL USERS", "ACL CAT admin", "ACL GETUSER default", "ACL SETUSER default off", "ACL DELUSER nobody"),
    *("MULTI", "CLIENT KILL USER nobody", "EXEC", "BGREWRITEAOF", "BGSAVE SCHEDULE", "FUNCTION LIST", "FUNCTION STATS"),
    *("EXISTS caas-verify:x", "UNLINK caas-verify:x"),
    *(
        "SELECT 0",
        "SCAN 0 COUNT 10",
        "MEMORY USAGE other SAMPLES 5",
        "EXISTS other",
        "CLIENT SETNAME caas-verify:proof",
    ),
)
NOT_SENT = (
    *(
        "GET caas-verify:x",
        "SET caas-verify:x 1",
        "UNLINK other",
        "TYPE other",
        "DUMP other",
        "OBJECT ENCODING other",
        "HSCAN other 0",
        "SETNX other 1",
        "KEYS *",
        "DBSIZE",
        "RANDOMKEY",
    ),
    *("FLUSHALL", "FLUSHDB", "EVAL return1 0", "FCALL mine 0", "SCRIPT FLUSH", "FUNCTION FLUSH", "FUNCTION DUMP"),
    *("MONITOR", "REPLICAOF NO ONE", "CONFIG REWRITE", "ACL SAVE", "MODULE LIST", "PUBLISH caas-verify:x 1", "SAVE"),
)


def test_the_operator_may_send_what_the_tool_sends_and_reads_no_value(one_box: Tier) -> None:
    with one_box.client("shared", "operator") as operator:
        connection = operator.connection_pool.get_connection()
        for command in SENT:
            connection.send_command(*command.split())  # type: ignore[no-untyped-call]
            connection.read_response()  # type: ignore[no-untyped-call]
        assert refused(operator, *NOT_SENT)
        for command in ("SCRIPT KILL", "FUNCTION KILL"):
            with pytest.raises(redis.exceptions.ResponseError, match=r"No scripts in execution"):
                operator.execute_command(*command.split())  # type: ignore[no-untyped-call]


def test_rights_are_changed_live_survive_a_restart_are_proved_and_are_in_drift(one_box: Tier, tmp_path: Path) -> None:
    options = overriding(LESS)
    live = overriding({**LESS, "gateway": {"services": LESS["gateway"]["services"]}})
    pids = {role: one_box.pid(role) for role in ROLES}
    held, listener = one_box.client("crypto", "crypto-service"), one_box.client("gateway", "gateway").pubsub()  # type: ignore[no-untyped-call]
    connected = held.client_id()
    listener.subscribe("news:1")
    one_box.deploy(*live)
    with one_box.operator("gateway") as operator:
        assert operator.publish("news:1", "still there") == 1
    assert held.client_id() == connected
    assert {role: one_box.pid(role) for role in ROLES} == pids
    assert refused(held, "SET key:1 x", "EXISTS other", "FUNCTION STATS")
    assert held.exists("key:1") == 0
    listener.close()
    one_box.deploy(*options)
    assert one_box.pid("gateway") != pids["gateway"]
    with one_box.client("gateway", "gateway") as writer, one_box.client("gateway", "auth-service") as reader:
        assert writer.set("session:1", "x")
        assert reader.get("session:1") == "x"
        assert writer.publish("news:1", "x") == 0
        assert refused(writer, "EXISTS other", "PUBLISH other x", "EVAL return1 0", "FCALL mine 0", "CLIENT LIST")
        assert refused(reader, "SET session:1 y", "DEL session:1", "FUNCTION STATS")
        assert reader.eval("return 1", 0) == 1
        writer.delete("session:1")
    assert one_box.run("tasks/verify.py", *options).returncode == 0
    with one_box.operator("gateway") as operator:
        operator.execute_command("ACL", "SETUSER", "gateway", "+eval", "~*")
    done = one_box.run("tasks/verify.py", *options)
    assert done.returncode != 0
    assert "gateway runs a script on 172.28.2.1:6379: observed 1, expected error NOPERM" in output(done)
    assert "gateway looks at a key outside of its patterns" in output(done)
    report = tmp_path / "drift.json"
    one_box.run("tasks/drift.py", *options, "--data", f"drift_report={report}")
    found = json.loads(report.read_text())["hosts"]["redis-1"]["differences"]
    assert [(item["role"], item["subject"], item["name"], item["remedy"]) for item in found] == [
        ("gateway", "acl", "gateway", "set live")
    ]
    one_box.deploy(*options)
    one_box.deploy()
    with one_box.client("gateway", "auth-service") as reader:
        assert reader.set("session:1", "x")
        assert reader.delete("session:1") == 1
