"""A Redis that was there before: its data becomes the role's, nothing lost, and nothing is done to it unasked."""

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import redis
import yaml

from tests.hosts import figures
from tests.hosts.clients import client
from tests.hosts.conftest import TABLE, Tier, layout, operations, output
from tests.hosts.cut_off_writer import DATABASES, PREFIX, database
from tests.hosts.dataset import numbers
from tests.hosts.dataset.capture import Dataset, capture
from tests.hosts.dataset.compare import differences
from tests.hosts.dataset.write import write_every_way
from tests.lab.container import Container
from tests.lab.containers import REPOSITORY, ContainerLab

pytestmark = pytest.mark.hosts

INSTALL = "DEBIAN_FRONTEND=noninteractive apt-get -qq -y install redis-server >/dev/null 2>&1; "
WITHOUT_PACKAGED = "systemctl --quiet mask redis-server; " + INSTALL
LARGE = "x" * (4 << 20)
SECRET = "an old server's password"
HAND_MADE = f"""[Unit]
Description=Somebody's own Redis
[Service]
ExecStart=/usr/bin/redis-server --port 6381 --dir /srv/redis --requirepass "{SECRET}" --save "" --dbfilename own.rdb
ExecStop=/usr/bin/redis-cli -p 6381 --no-auth-warning -a "{SECRET}" shutdown nosave
Restart=always
RestartSec=0
[Install]
WantedBy=multi-user.target
"""


@dataclass(frozen=True)
class Old:
    """A server as somebody left it: the role in whose place it is, how it came there, and where it answers."""

    role: str
    made: str
    address: str
    port: int
    directory: str
    file: str
    password: str | None = None
    unit: str = ""


OLD = (
    Old("gateway", INSTALL, "127.0.0.1", 6379, "/var/lib/redis", "dump.rdb", unit="redis-server.service"),
    Old(
        "socket",
        INSTALL + "sed -i 's/^appendonly no/appendonly yes/' /etc/redis/redis.conf; systemctl restart redis-server",
        "127.0.0.1",
        6379,
        "/var/lib/redis",
        "appendonlydir",
        unit="redis-server.service",
    ),
    Old(
        "shared",
        WITHOUT_PACKAGED + "mkdir /srv/redis; cat >/etc/systemd/system/my-redis.service; "
        "systemctl --quiet enable --now my-redis",
        "172.28.2.3",
        6381,
        "/srv/redis",
        "own.rdb",
        SECRET,
        "my-redis.service",
    ),
    Old(
        "compliance",
        WITHOUT_PACKAGED + "mkdir /srv/old; cd /srv/old; "
        "setsid redis-server --bind 172.28.2.4 --port 6382 --protected-mode no --save '' >/dev/null 2>&1 </dev/null &",
        "172.28.2.4",
        6382,
        "/srv/old",
        "dump.rdb",
    ),
)
ADOPT = ("--data", "adopt=" + ",".join(old.role for old in OLD))


def connect(host: Container, old: Old, **options: Any) -> "redis.Redis":
    """A plain client of an old server, on the host itself."""
    return client(f"/proc/{host.leader}/ns/net", old.address, old.port, None, old.password, **options)


def start_writer(host: Container, old: Old) -> "subprocess.Popen[str]":
    """A service on the host that writes to the old server until it is cut off."""
    words = [old.address, str(old.port), *([old.password] if old.password else [])]
    argv = ["nsenter", f"--net=/proc/{host.leader}/ns/net", sys.executable, "-m", "tests.hosts.cut_off_writer", *words]
    process = subprocess.Popen(argv, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True)
    assert process.stdout
    assert process.stdout.readline() == "writing\n"
    return process


def set_up(host: Container, old: Old, file: str = HAND_MADE) -> int:
    """The old server, made with `file` at hand, runs with some data in two databases; returns its process id."""
    host.sh(old.made, input=file)
    host.sh(f"timeout 20 sh -c 'until ss -Hltn | grep -q {old.port}; do sleep 0.1; done'")
    with connect(host, old, db=15) as other:
        other.set("elsewhere", "fifteen")
        other.set("for an hour", "yes", ex=3600)
        other.set("large", LARGE)
    return pid(host)


def pid(host: Container) -> int:
    """The process of the only Redis on a host."""
    return int(host.sh("pidof redis-server"))


def operator(tier: Tier, role: str, db: int) -> "redis.Redis":
    """The tool's own user in one database of a role."""
    row, password = TABLE[role], tier.passwords[role]["operator"]
    return client(tier.lab.netns, row["address"], row["port"], "operator", password, every_right=True, db=db)


def lost(tier: Tier, role: str, acknowledged: int) -> list[int]:
    """Acknowledged numbers that the role does not have."""
    missing = []
    for db in range(DATABASES):
        with operator(tier, role, db) as own:
            written = [number for number in range(acknowledged) if database(number) == db]
            missing += numbers.lost(own, PREFIX, written)
    return missing


def fill(host: Container, old: Old) -> Dataset:
    """What an old server holds once clients have written to it in every way."""
    with connect(host, old) as server:
        write_every_way(server, server)
        return capture(server)


def changed(tier: Tier, role: str, before: Dataset) -> list[str]:
    """What a role holds otherwise than the old server did, beside the numbers that were written until its end."""
    with tier.operator(role) as own:
        return differences(before, capture(own), besides=[PREFIX.encode()])


@pytest.fixture(scope="module")
def tier(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tier]:
    """The production hosts, four of them with an old server in the place of their role."""
    with ContainerLab(layout("prod", "bookworm")) as lab:
        yield Tier(lab, "inventory/prod.py", tmp_path_factory.mktemp("adopt") / "secrets.yaml")


@pytest.fixture(scope="module")
def pids(tier: Tier) -> dict[str, int]:
    """The old servers' processes, by role."""
    return {old.role: set_up(tier.host(old.role), old) for old in OLD}


def untouched(tier: Tier, pids: dict[str, int]) -> bool:
    """Every old server runs as before, and no host has anything of ours."""
    ours = (
        "ls /etc/redis/*.acl /etc/systemd/system/redis-[!s]* /var/lib/redis/*/ 2>/dev/null | grep -v appendonly || true"
    )
    return all(pid(tier.host(old.role)) == pids[old.role] and tier.host(old.role).sh(ours).strip() == "" for old in OLD)


def refuse(tier: Tier, *options: str) -> str:
    """What a deploy says that is refused."""
    done = tier.run("deploy.py", *options)
    assert done.returncode != 0
    assert "Traceback" not in output(done)
    return output(done)


def test_a_server_with_data_is_refused_with_what_it_holds_and_how_to_adopt_it(tier: Tier, pids: dict[str, int]) -> None:
    said = refuse(tier)
    rows = {
        "gateway": "port 127.0.0.1:6379 is held by redis-server, pid {pid}, unit redis-server.service, with data: "
        "3 keys, directory /var/lib/redis, expected free: adopt its data with --data adopt=gateway, or stop it: "
        "systemctl disable --now redis-server.service",
        "socket": "unit redis-server.service, with data: 3 keys, directory /var/lib/redis, expected free: adopt",
        "shared": "port 0.0.0.0:6381 is held by redis-server, pid {pid}, unit my-redis.service, with data: keys "
        "unknown (NOAUTH Authentication required.), directory /srv/redis, expected free: adopt its data with --data "
        "adopt=shared, or stop it: systemctl disable --now my-redis.service; to have it asked, put the password of "
        "its user default into the secrets file: shared: {{default: …}}",
        "compliance": "port 172.28.2.4:6382 is held by redis-server, pid {pid}, with data: 3 keys, directory /srv/old, "
        "expected free: adopt its data with --data adopt=compliance, or stop it: kill {pid}",
    }
    for role, words in rows.items():
        assert f"redis-{role}: {role}: " in said
        assert words.format(pid=pids[role]) in said, said
    assert "Nothing was changed" in said
    assert said.count("is held by") == 4
    assert untouched(tier, pids)


def test_a_server_that_does_not_let_itself_be_asked_cannot_be_adopted(tier: Tier, pids: dict[str, int]) -> None:
    said = refuse(tier, *ADOPT)
    assert "redis-shared: shared: adopt=shared: redis-server, pid" in said
    assert "does not tell what it holds: NOAUTH" in said
    assert "put the password of its user default into the secrets file (shared: {default: PASSWORD})" in said
    tier.secrets.write_text(yaml.safe_dump({"shared": {"default": SECRET}}))
    tier.secrets.chmod(0o600)
    assert untouched(tier, pids)


@pytest.mark.parametrize(
    ("option", "words"),
    [
        ("adopt=gatway", "adopt=gatway: no such role, expected one of compliance, crypto, gateway"),
        ("adopt=../x", "adopt: expected the name of a role, or several as gateway,socket, observed '../x'"),
    ],
)
def test_a_wrong_name_is_refused_before_any_contact(tier: Tier, pids: dict[str, int], option: str, words: str) -> None:
    said = refuse(tier, "--data", option)
    assert words in said
    assert "Connected" not in said


def test_a_role_without_an_old_server_has_nothing_to_adopt(tier: Tier, pids: dict[str, int]) -> None:
    said = refuse(tier, "--data", "adopt=crypto", "--limit", "redis-crypto")
    assert "redis-crypto: crypto: adopt=crypto: no other Redis listens on port 6383 or 6379 of 172.28.2.5" in said


def test_a_data_set_larger_than_the_role_s_memory_is_refused(tier: Tier, pids: dict[str, int]) -> None:
    small = ("--data", 'redis_overrides={"compliance": {"maxmemory": "2mb"}, "gateway": {"databases": 4}}')
    said = refuse(tier, *ADOPT, *small)
    assert "and maxmemory 2mb would refuse all writes (noeviction): raise maxmemory above it" in said
    assert "has keys in database 15, the role has databases 4, expected more than 15" in said
    assert untouched(tier, pids)


def test_a_dry_run_lists_the_adoptions_and_changes_nothing(tier: Tier, pids: dict[str, int]) -> None:
    said = output(tier.run("deploy.py", "--dry", *ADOPT, yes=False))
    for old in OLD:
        unit = f", unit {old.unit}" if old.unit else ""
        found = f"3 keys, directory {old.directory}, of redis-server, pid {pids[old.role]}{unit}"
        line = f"redis-{old.role}: {old.role}: persistence data: {found} → in /var/lib/redis/{old.role} (adopt)"
        assert line in said, said
    assert SECRET not in said
    assert untouched(tier, pids)


def test_every_acknowledged_write_is_in_the_role_afterwards(tier: Tier, pids: dict[str, int]) -> None:
    before = {old.role: fill(tier.host(old.role), old) for old in OLD}
    writers = {old.role: start_writer(tier.host(old.role), old) for old in OLD}
    try:
        done = tier.run("deploy.py", *ADOPT)
        assert done.returncode == 0, output(done)
        ends = {role: writer.communicate(timeout=60)[0].split() for role, writer in writers.items()}
    finally:
        for writer in writers.values():
            writer.kill()
    assert SECRET not in output(done)
    acknowledged = {role: int(number) for role, (number, _) in ends.items()}
    assert {role: changed(tier, role, before[role]) for role in ends} == {role: [] for role in ends}
    for old in OLD:
        began = tier.host(old.role).sh(f"systemctl show -P ActiveEnterTimestampMonotonic redis-{old.role}")
        gap = int(began) / 1e6 - float(ends[old.role][1])
        figures.add("adopted", f"{old.role}: {acknowledged[old.role]} numbers, nobody served for {gap:.1f} s")
        assert acknowledged[old.role] > 100
        assert lost(tier, old.role, acknowledged[old.role]) == []
        text = f"{old.role}: the old server's files are kept in {old.directory}, its last save is {old.directory}/"
        assert text in output(done)
        with operator(tier, old.role, 15) as role:
            assert role.get("elsewhere") == "fifteen"
            assert 3000 < int(str(role.ttl("for an hour"))) <= 3600


def test_the_old_servers_are_gone_and_their_files_are_where_they_were(tier: Tier, pids: dict[str, int]) -> None:
    for old in OLD:
        host = tier.host(old.role)
        assert pid(host) == tier.pid(old.role) != pids[old.role]
        assert host.sh(f"ls {old.directory}/{old.file}")
        assert host.sh(f"ls /var/lib/redis/{old.role}").split() == ["appendonlydir", "dump.rdb"]
        assert host.sh("ls /run/systemd/system").split() == []
        if old.unit:
            started = host.sh(f"journalctl --no-pager -o cat -u {old.unit} | grep -c ^Started", check=False)
            assert int(started) == (2 if old.role == "socket" else 1)
            enabled = "masked" if old.unit == "redis-server.service" else "disabled"
            assert host.sh(f"systemctl is-enabled {old.unit}", check=False).strip() == enabled


def test_another_deploy_has_nothing_to_do_with_and_without_the_request(tier: Tier, pids: dict[str, int]) -> None:
    for options in ((), ADOPT):
        assert tier.deploy_json(*options)["results"]["totals"]["success"] == 0
    for file in ("tasks/verify.py", "tasks/drift.py"):
        assert tier.run(file).returncode == 0


def test_the_old_password_is_kept_in_the_secrets_file_and_opens_nothing(tier: Tier, pids: dict[str, int]) -> None:
    assert tier.passwords["shared"]["default"] == SECRET
    assert "default" not in tier.passwords["gateway"]
    with (
        client(tier.lab.netns, "172.28.2.3", 6381, "default", SECRET) as old,
        pytest.raises(redis.exceptions.AuthenticationError),
    ):
        old.ping()


def test_an_old_server_that_comes_back_is_refused_and_not_adopted_twice(tier: Tier, pids: dict[str, int]) -> None:
    host = tier.host("gateway")
    host.sh("systemd-run --quiet --unit=again redis-server --port 6379 --bind 127.0.0.1 --dir /var/lib/redis")
    host.sh("timeout 10 sh -c 'until ss -Hltn | grep -q 127.0.0.1:6379; do sleep 0.1; done'")
    try:
        said = refuse(tier, "--limit", "redis-gateway")
        assert "gateway: port 127.0.0.1:6379 is held by redis-server" in said
        said = refuse(tier, "--limit", "redis-gateway", "--data", "adopt=gateway")
        assert "adopt=gateway: the role has data of its own in /var/lib/redis/gateway, expected none" in said
    finally:
        host.sh("systemctl stop again")


def test_a_reboot_brings_back_the_roles_and_not_the_old_servers(tier: Tier, pids: dict[str, int]) -> None:
    host = tier.host("shared")
    host.stop()
    host.boot()
    host.sh("timeout 20 sh -c 'until systemctl is-active --quiet redis-shared; do sleep 0.1; done'")
    assert pid(host) == tier.pid("shared")
    done = tier.run("tasks/verify.py", "--limit", "redis-shared")
    assert done.returncode == 0, output(done)
    assert operations(done) == []
