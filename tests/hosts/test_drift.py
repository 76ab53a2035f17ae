"""Drift: every row of tests/hosts/tampering.py is found, named, planned and repaired; and there are no false alarms."""

import itertools
import json
import re
import resource
import shlex
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import redis

from tests.hosts import figures
from tests.hosts.conftest import ROLES, TABLE, Finished, Tier, layout, output, wait_for
from tests.hosts.every_way import kept
from tests.hosts.tampering import CANARY, ROUNDS, Key, Round, Step, Tampering, until
from tests.hosts.test_first_deploy import fingerprint
from tests.lab.container import Container
from tests.lab.containers import ContainerLab, HostSpec
from tests.lab.debian import Suite

pytestmark = pytest.mark.hosts

HOST = "redis-1"
PLANNED = re.compile(rf"{HOST}: (.+ → .*)$", re.MULTILINE)
MAY_FAIL = ("ACL LOAD", "BGREWRITEAOF", "BGSAVE")
numbers = itertools.count()


def key(entry: dict[str, str | None]) -> Key:
    return entry["role"], str(entry["subject"]), str(entry["name"])


@dataclass(frozen=True)
class Drift:
    """One drift check: how it ended and what it reported."""

    done: Finished
    hosts: dict[str, Any]

    @property
    def differences(self) -> list[dict[str, str | None]]:
        """Those of all hosts."""
        return [row for host in self.hosts.values() for row in host["differences"]]

    @property
    def keys(self) -> frozenset[Key]:
        """(role, subject, name) of every difference."""
        return frozenset(map(key, self.differences))

    @property
    def in_sync(self) -> bool:
        """As the exit code and the report say, which have to agree."""
        statuses = {host["status"] for host in self.hosts.values()}
        assert (self.done.returncode == 0) == (statuses == {"in_sync"}), output(self.done)
        return self.done.returncode == 0


def check(tier: Tier, directory: Path, *options: str) -> Drift:
    """What `tasks/drift.py` finds."""
    report = directory / f"drift-{next(numbers)}.json"
    done = tier.run("tasks/drift.py", "--data", f"drift_report={report}", *options)
    assert report.exists(), output(done)
    assert "Traceback" not in output(done)
    return Drift(done, json.loads(report.read_text())["hosts"])


@dataclass(frozen=True)
class Outcome:
    """One round: what was found, planned and done about it, and what was left when people had mended their part."""

    drift: Drift
    plan: Finished
    deploy: Finished
    left: Drift


# --- Rounds: each host has its own thread, because a host is busy far less than pyinfra is


class Site:
    """A deployed host of one Debian release with its rounds, which run one after the other."""

    def __init__(self, tier: Tier, directory: Path, rounds: list[Round], suite: Suite) -> None:
        self.tier = tier
        self.suite = suite
        self.directory = directory
        self._pool = ThreadPoolExecutor(1)
        self.fresh = self._pool.submit(self._deploy)
        self._outcomes: dict[str, Future[Outcome]] = {item.name: self._pool.submit(self._play, item) for item in rounds}

    def outcome(self, name: str) -> Outcome:
        """The outcome of a round."""
        return self._outcomes[name].result()

    def at_rest(self) -> Tier:
        """The host after its last round."""
        for future in self._outcomes.values():
            future.exception()
        self.fresh.result()
        return self.tier

    def close(self) -> None:
        """Rounds that nobody waits for are not begun."""
        self._pool.shutdown(cancel_futures=True)

    def check(self, *options: str) -> Drift:
        """A drift check of the host."""
        return check(self.tier, self.directory, *options)

    def _deploy(self) -> Drift:
        self.tier.deploy()
        return self.check()

    def _play(self, item: Round) -> Outcome:
        try:
            outcome = self._tamper(item)
        except Exception:
            self._start_over()
            raise
        if not outcome.left.in_sync:
            self._start_over()
        return outcome

    def _tamper(self, item: Round) -> Outcome:
        rows = item.on(self.suite)
        for row in rows:
            self._do(row.steps)
        with ThreadPoolExecutor(1) as beside:
            dry = beside.submit(self.tier.run, "deploy.py", "--dry", "-v", yes=False)
            drift, plan = self.check(), dry.result()
        deploy = self.tier.run("deploy.py")
        for row in rows:
            self._do(row.mend)
        return Outcome(drift, plan, deploy, self.check())

    def _start_over(self) -> None:
        """What one round left behind must not be found by the next."""
        self.tier.lab.hosts[HOST].reset()
        self.tier.deploy()

    def _do(self, steps: tuple[Step, ...]) -> None:
        for step in steps:
            if isinstance(step, str):
                self.tier.lab.hosts[HOST].sh(step)
                continue
            role, command = step
            with self.tier.operator(role) as client:
                # What a row asks of a disk may be refused, and ACL LOAD of 7.0 cuts off its caller.
                with suppress(*([redis.exceptions.RedisError] if command in MAY_FAIL else [])):
                    client.execute_command(*shlex.split(command))
                wait_for(lambda: not busy(client), f"{role} has done `{command}`")


@pytest.fixture(scope="module")
def sites(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[Suite, Site]]:
    """A host of each Debian release, with the rounds that the chosen tests need."""
    params = [item.callspec.params for item in request.session.items if hasattr(item, "callspec")]
    chosen = {(values["suite"], values["item"].name) for values in params if isinstance(values.get("item"), Round)}
    with ContainerLab(layout("onebox", "bookworm")) as older, ContainerLab(layout("onebox", "trixie")) as newer:
        made: dict[Suite, Site] = {}
        labs: dict[Suite, ContainerLab] = {"bookworm": older, "trixie": newer}
        try:
            for suite, lab in labs.items():
                directory = tmp_path_factory.mktemp(suite)
                tier = Tier(lab, "inventory/onebox.py", directory / "secrets.yaml")
                rounds = [item for item in ROUNDS if (suite, item.name) in chosen]
                made[suite] = Site(tier, directory, rounds, suite)
            yield made
        finally:
            for site in made.values():
                site.close()


def assert_in_sync(drift: Drift) -> None:
    assert drift.in_sync and not drift.differences, output(drift.done)


@pytest.mark.parametrize("suite", ["bookworm", "trixie"])
def test_a_fresh_deploy_is_in_sync_at_once(sites: dict[Suite, Site], suite: Suite) -> None:
    assert_in_sync(sites[suite].fresh.result())


# --- Hosts that cannot be looked at


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tier]:
    """Two deployed hosts of different releases, with a role each."""
    directory = tmp_path_factory.mktemp("pair")
    inventory = directory / "pair.py"
    rows = [
        f'redis_{role} = [("redis-{role}", {{"ssh_hostname": "{TABLE[role]["address"]}", "ssh_user": "root"}})]\n'
        for role in ("gateway", "socket")
    ]
    inventory.write_text("".join(rows))
    hosts = [
        HostSpec("redis-gateway", ("172.28.2.1",), "bookworm"),
        HostSpec("redis-socket", ("172.28.2.2",), "trixie"),
    ]
    with ContainerLab(hosts) as lab:
        tier = Tier(lab, str(inventory), directory / "secrets.yaml")
        tier.deploy()
        yield tier


@contextmanager
def without_ssh(*hosts: Container) -> Iterator[None]:
    for host in hosts:
        host.sh("systemctl stop ssh.socket ssh.service 2>/dev/null || systemctl stop ssh.service")
    try:
        yield
    finally:
        for host in hosts:
            host.sh("systemctl start ssh.service")


def statuses(drift: Drift) -> dict[str, str]:
    return {name: host["status"] for name, host in drift.hosts.items()}


def test_a_host_that_cannot_be_reached_hides_nothing_of_the_others(pair: Tier, tmp_path: Path) -> None:
    with pair.operator("gateway") as client:
        client.config_set("timeout", 60)
    page, metrics = tmp_path / "drift.html", tmp_path / "drift.prom"
    with without_ssh(pair.host("socket")):
        options = ("--data", f"drift_page={page}", "--data", f"drift_metrics={metrics}")
        drift = check(pair, tmp_path, *options)
    assert statuses(drift) == {"redis-gateway": "drifted", "redis-socket": "unreachable"}
    assert drift.keys == {("gateway", "setting", "timeout")}
    assert not drift.in_sync
    assert "unreachable" in page.read_text() and "<script" not in page.read_text()
    assert re.search(r'host="redis-socket"', metrics.read_text())
    pair.deploy()


def test_hosts_that_are_all_unreachable_are_reported_as_such(pair: Tier, tmp_path: Path) -> None:
    with without_ssh(*pair.lab.hosts.values()):
        drift = check(pair, tmp_path)
    assert statuses(drift) == {"redis-gateway": "unreachable", "redis-socket": "unreachable"}
    assert not drift.in_sync


def test_a_host_whose_sudo_asks_for_a_password_is_an_error_and_hides_nothing_of_the_others(
    pair: Tier, tmp_path: Path
) -> None:
    host = pair.host("socket")
    host.sh("sed -i 's/NOPASSWD://' /etc/sudoers.d/admin")
    pair.host("gateway").sh("chmod 600 /etc/redis/gateway.conf")
    try:
        drift = check(pair, tmp_path, "--ssh-user", "admin", "--sudo")
    finally:
        host.sh("sed -i 's/(ALL:ALL) /(ALL:ALL) NOPASSWD: /' /etc/sudoers.d/admin")
        pair.host("gateway").sh("chmod 640 /etc/redis/gateway.conf")
    assert statuses(drift) == {"redis-gateway": "drifted", "redis-socket": "error"}
    assert drift.hosts["redis-socket"]["message"]
    assert drift.keys == {("gateway", "file", "/etc/redis/gateway.conf")}
    assert_in_sync(check(pair, tmp_path, "--ssh-user", "admin", "--sudo"))


# What is done to a host, what undoes it, and what is said of it: what was seen, and the likely cause.
ODD_LOGINS = {
    "nologin": (
        "usermod -s /usr/sbin/nologin admin",
        "usermod -s /bin/bash admin",
        "'This account is currently not available.': its login shell turns everybody away",
    ),
    "an expired password": (
        "chage -d 0 admin",
        "chage -d -1 admin",
        "its password or account has expired: log in by hand",
    ),
    "a ForceCommand": (
        "printf 'Match User admin\\n ForceCommand echo menu\\n' >/etc/ssh/sshd_config.d/00-test.conf"
        " && systemctl reload ssh",
        "rm /etc/ssh/sshd_config.d/00-test.conf && systemctl reload ssh",
        "'menu': log in there as this run does and see what answers: a ForceCommand",
    ),
    "requiretty": (
        "echo 'Defaults requiretty' >/etc/sudoers.d/tty",
        "rm /etc/sudoers.d/tty",
        "must have a tty to run sudo': remove `Defaults requiretty`",
    ),
    "no rights": (
        "mv /etc/sudoers.d/admin /root/admin.kept && echo 'admin ALL=(ALL) NOPASSWD: /bin/true' >/etc/sudoers.d/admin",
        "mv /root/admin.kept /etc/sudoers.d/admin",
        "give sudo the right password",
    ),
    "a systemd that does not answer": (
        "mv /usr/bin/systemctl /root/systemctl.kept"
        " && printf '#!/bin/sh\\necho no bus >&2; exit 1\\n' >/usr/bin/systemctl && chmod 755 /usr/bin/systemctl",
        "mv /root/systemctl.kept /usr/bin/systemctl",
        "the state of its units: systemctl ended with 1 and said 'no bus': see as root there",
    ),
}


def assert_said(drift: Drift, words: str) -> None:
    """One host is an error in these words, with nothing of how it was asked, and the other one is reported as usual."""
    assert statuses(drift) == {"redis-gateway": "drifted", "redis-socket": "error"}, output(drift.done)
    assert words in drift.hosts["redis-socket"]["message"]
    assert "sysctl" not in output(drift.done) and "_sudo = True" not in output(drift.done)
    assert "Traceback" not in output(drift.done)
    assert drift.keys == {("gateway", "file", "/etc/redis/gateway.conf")}


@contextmanager
def odd(tier: Tier, make: str, mend: str) -> Iterator[None]:
    """One host is odd, the other one is drifted."""
    host = tier.host("socket")
    tier.host("gateway").sh("chmod 600 /etc/redis/gateway.conf")
    host.sh(make)
    try:
        yield
    finally:
        host.sh(mend)
        tier.host("gateway").sh("chmod 640 /etc/redis/gateway.conf")


@pytest.mark.parametrize("name", ODD_LOGINS)
def test_a_host_that_cannot_be_looked_at_says_what_was_seen_and_the_likely_cause(
    pair: Tier, tmp_path: Path, name: str
) -> None:
    make, mend, words = ODD_LOGINS[name]
    with odd(pair, make, mend):
        assert_said(check(pair, tmp_path, "--ssh-user", "admin", "--sudo"), words)


@pytest.mark.parametrize("prints", ["head -c 2G /dev/zero | tr '\\0' A", "yes", "yes ''"])
def test_a_host_that_answers_without_end_costs_neither_time_nor_memory(pair: Tier, tmp_path: Path, prints: str) -> None:
    began = time.monotonic()
    with odd(pair, f'cp /root/.bashrc /root/kept; echo "{prints}" >/root/.bashrc', "mv /root/kept /root/.bashrc"):
        drift = check(replace(pair, warm=False), tmp_path)  # its memory is a child's of this process
        pair.host("socket").sh("pkill -x yes; pkill -x head; true")
    assert_said(drift, "says more than 16 MiB, expected far less: it has not even begun: log in there")
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss >> 10
    figures.add("A host that answers without end", f"{time.monotonic() - began:.1f} s, {peak} MiB at most: {prints}")
    assert peak < 300
    assert time.monotonic() - began < 60


@pytest.mark.soak
@pytest.mark.parametrize("where", ["the login", "sudo"])
def test_a_host_that_hangs_is_given_up_and_the_others_are_reported(pair: Tier, tmp_path: Path, where: str) -> None:
    make, mend = {
        "the login": ("echo 'sleep 1000' >/home/admin/.bashrc", "rm /home/admin/.bashrc"),
        "sudo": (
            "cp /etc/pam.d/sudo /root/kept; sed -i '1a account required pam_exec.so /bin/sleep 1000' /etc/pam.d/sudo",
            "mv /root/kept /etc/pam.d/sudo",
        ),
    }[where]
    with odd(pair, make, mend):
        drift = check(pair, tmp_path, "--ssh-user", "admin", "--sudo")
        pair.host("socket").sh("pkill -x sleep; true")
    assert_said(drift, "has not ended after 120 s, expected far less: it has not even begun")


def test_all_in_sync_is_one_line_and_exit_code_0(pair: Tier, tmp_path: Path) -> None:
    drift = check(pair, tmp_path)
    assert_in_sync(drift)
    assert re.search(r"2 roles on 2 hosts in sync, checked in [\d.]+ s \(4 commands, 2 exchanges\)", drift.done.stdout)


def test_ports_that_a_packet_filter_closes_to_other_hosts_are_found_by_drift_and_by_verify(
    pair: Tier, tmp_path: Path
) -> None:
    """As ufw does that admits 6379 only, which it sees translated: from the host itself both ports answer."""
    host, closing = pair.host("socket"), "table inet closing"
    rule = "iifname != lo tcp dport 6380 reject with tcp reset"
    host.sh(f"nft '{closing} {{ chain input {{ type filter hook input priority 0; {rule}; }}; }}'")
    try:
        drift, verified = check(pair, tmp_path), pair.run("tasks/verify.py")
    finally:
        host.sh(f"nft delete {closing}")
    assert drift.keys == {("socket", "listener", f"172.28.2.2:{port}") for port in (6379, 6380)}
    assert not drift.in_sync
    assert verified.returncode != 0
    assert "172.28.2.2:6380: Connection refused from redis-gateway" in output(verified)
    assert_in_sync(check(pair, tmp_path))


def test_a_limit_that_matches_nobody_is_an_error(pair: Tier, tmp_path: Path) -> None:
    done = pair.run("tasks/drift.py", "--limit", "no-such-host", "--data", f"drift_report={tmp_path / 'drift.json'}")
    assert done.returncode != 0
    assert "No host to look at" in output(done)


def test_a_limited_check_reports_the_chosen_host_only(pair: Tier, tmp_path: Path) -> None:
    drift = check(pair, tmp_path, "--limit", "redis-socket")
    assert statuses(drift) == {"redis-socket": "in_sync"}


def test_a_report_that_cannot_be_written_is_an_error(pair: Tier, tmp_path: Path) -> None:
    done = pair.run("tasks/drift.py", "--data", f"drift_report={tmp_path / 'missing' / 'drift.json'}")
    assert done.returncode != 0
    assert "does not exist: create it or name another file" in output(done)
    assert "Traceback" not in output(done)


# --- No false alarms


@pytest.fixture(scope="module", params=["bookworm", pytest.param("trixie", marks=pytest.mark.soak)])
def site(request: pytest.FixtureRequest, sites: dict[Suite, Site]) -> Site:
    """A host of each Debian release whose rounds are over."""
    chosen: Site = sites[request.param]
    chosen.at_rest()
    return chosen


def test_drift_changes_nothing_on_the_host(site: Site) -> None:
    host = site.tier.lab.hosts[HOST]
    host.sh("touch /etc/redis/gateway.conf; chmod 600 /etc/redis/gateway.conf")
    before = fingerprint(host), [site.tier.pid(role) for role in ROLES], host.sh("nft list ruleset")
    assert not site.check().in_sync
    assert (fingerprint(host), [site.tier.pid(role) for role in ROLES], host.sh("nft list ruleset")) == before
    host.sh("chmod 640 /etc/redis/gateway.conf")
    assert_in_sync(site.check())


def test_traffic_a_rewrite_and_a_snapshot_are_no_drift(site: Site) -> None:
    for role in ROLES:
        with site.tier.client(role, TABLE[role]["services"][0]) as client, client.pipeline(transaction=False) as pipe:
            for number in range(3000):
                pipe.set(f"test:{number}", number, px=5 if number % 3 else None)
            pipe.publish("test:channel", "hello")
            pipe.eval("return redis.call('INCR', KEYS[1])", 1, "test:counter")
            pipe.execute()
        with site.tier.operator(role) as client:
            client.bgrewriteaof()
            with suppress(redis.exceptions.ResponseError):  # one that a save point has just begun is as good
                client.bgsave(schedule=True)
    assert_in_sync(site.check())
    for role in ROLES:
        with site.tier.operator(role) as client:
            wait_for(lambda: not busy(client), f"{role} has written its files")
            client.flushall()
    assert_in_sync(site.check())


def busy(client: "redis.Redis") -> bool:
    info = client.info("persistence")
    return any(info[name] for name in ("rdb_bgsave_in_progress", "aof_rewrite_in_progress", "aof_rewrite_scheduled"))


def test_the_same_said_in_other_words_is_no_drift(site: Site) -> None:
    host = site.tier.lab.hosts[HOST]
    for role, command in (
        ("gateway", "CONFIG SET maxmemory 262144kb"),
        ("gateway", "CONFIG SET client-output-buffer-limit 'pubsub 33554432 8192kb 60 replica 256mb 65536kb 60'"),
        ("compliance", "CONFIG SET save '3600 1 300 100 60 10000'"),
        ("shared", "CONFIG SET bind 172.28.2.3"),
        (
            "crypto",
            "ACL SETUSER crypto-service resetkeys allkeys nocommands allcommands -@dangerous -@admin +info -@scripting "
            "+fcall_ro +fcall +script|exists +script|load +evalsha_ro +eval_ro +evalsha +eval",
        ),
    ):
        with site.tier.operator(role) as client:
            assert client.execute_command(*shlex.split(command)) in (True, "OK", b"OK")
    host.sh(
        "nft -s list table ip redis_inner_port >/run/kept.nft; { echo flush table ip redis_inner_port;"
        " for chain in output prerouting; do tac /run/kept.nft | sed -n '/dnat/p' | sort -ur |"
        ' sed "s/^/add rule ip redis_inner_port $chain /"; done; } >/run/again.nft;'
        """ echo 'include "/run/again.nft"' >/run/redis-inner-port/commands;"""
        + until("! nft -s list table ip redis_inner_port | cmp -s - /run/kept.nft")
    )
    overrides = {
        "gateway": {"maxmemory": str(256 << 20), "client_output_buffer_limit": {"pubsub": "32768kb 8mb 60"}},
        "compliance": {"appendonly": True, "save": "3600 1 300 100 60 10000"},
    }
    assert_in_sync(site.check())
    assert_in_sync(site.check("--data", f"redis_overrides={json.dumps(overrides)}"))


def test_what_belongs_to_the_host_is_no_drift(site: Site) -> None:
    host = site.tier.lab.hosts[HOST]
    host.sh(
        "printf 'LC_ALL=de_DE.UTF-8\\nPOSIXLY_CORRECT=1\\nTZ=Asia/Tokyo\\n' >/etc/environment;"
        "nft 'add table inet filter; add chain inet filter input { type filter hook input priority 0; };"
        " add rule inet filter input tcp dport 9 drop';"
        f"mkdir {SERVICES}; printf '[Service]\\nNice=5\\n' >{SERVICES}/nice.conf; systemctl daemon-reload;"
        "touch /etc/redis/notes.txt; mkdir /var/lib/redis/old; ip addr add 172.28.2.77/24 dev host0"
    )
    try:
        assert_in_sync(site.check())
    finally:
        host.sh(
            ": >/etc/environment; nft delete table inet filter;"
            f"rm -r {SERVICES} /etc/redis/notes.txt /var/lib/redis/old; systemctl daemon-reload;"
            "ip addr del 172.28.2.77/24 dev host0"
        )


SERVICES = "/etc/systemd/system/service.d"


def test_a_reboot_is_no_drift(site: Site) -> None:
    host = site.tier.lab.hosts[HOST]
    host.stop()
    host.boot()
    units = " ".join(f"redis-{role}" for role in ROLES)
    wait_for(lambda: not host.call(f"systemctl is-active {units}").returncode, "every role runs again", 60)
    assert_in_sync(site.check())


# --- What the inventory asks for


def test_another_version_than_the_pin_is_drift_of_packages_and_servers(sites: dict[Suite, Site]) -> None:
    site = sites["bookworm"]
    site.at_rest()
    drift = site.check("--data", "redis_version=5:7.0.99-1")
    wanted = {(None, "package", "redis-server"), (None, "package", "redis-tools")}
    wanted |= {(None, "file", "/etc/apt/preferences.d/60-redis")}
    assert drift.keys == wanted | {(role, "instance", "version") for role in ROLES}
    assert not drift.in_sync


def test_a_role_that_the_host_no_longer_carries_is_drift_and_its_data_survives(
    sites: dict[Suite, Site], tmp_path: Path
) -> None:
    tier = sites["bookworm"].at_rest()
    without = tmp_path / "onebox.py"
    without.write_text((tier.repository / tier.inventory).read_text().replace("redis_crypto = _host\n", ""))
    fewer = Tier(tier.lab, str(without), tier.secrets)
    with kept(tier, "crypto"):
        drift = check(fewer, tmp_path)
        assert drift.keys == {
            ("crypto", "unit", "redis-crypto.service"),
            (None, "file", "/etc/redis/inner-port.nft"),
            (None, "listener", "172.28.2.5:6379"),
        }
        fewer.deploy()
        assert_in_sync(check(fewer, tmp_path))
        assert not check(tier, tmp_path).in_sync
        tier.deploy()


# --- Tampering

CASES = [
    pytest.param(suite, item, row, id=f"{suite}: {row.name}")
    for item in ROUNDS
    for suite in item.suites
    for row in item.on(suite)
]
PLAYED = [pytest.param(suite, item, id=f"{suite}: {item.name}") for item in ROUNDS for suite in item.suites]


def test_table_is_long_enough() -> None:
    names = [row.name for item in ROUNDS for row in item.rows]
    assert len(names) >= 45
    assert len(set(names)) == len(names)


@pytest.mark.parametrize(("suite", "item", "row"), CASES)
def test_tampering_is_found(sites: dict[Suite, Site], suite: Suite, item: Round, row: Tampering) -> None:
    drift = sites[suite].outcome(item.name).drift
    missed = row.expected - drift.keys
    assert not missed, f"{row.name}: missed {missed}:\n{output(drift.done)}"


@pytest.mark.parametrize(("suite", "item", "row"), CASES)
def test_tampering_is_repaired_by_the_deploy_or_left_to_a_person_by_name(
    sites: dict[Suite, Site], suite: Suite, item: Round, row: Tampering
) -> None:
    outcome = sites[suite].outcome(item.name)
    left = row.expected & outcome.left.keys
    assert not left, f"{row.name}: left {left}:\n{output(outcome.deploy)}{output(outcome.left.done)}"
    if row.by_hand:
        remedies = [entry for entry in outcome.drift.differences if key(entry) in row.expected]
        assert remedies and all(str(entry["remedy"]).startswith("by hand: ") for entry in remedies), row.name
        assert outcome.deploy.returncode != 0, f"{row.name}: {output(outcome.deploy)}"
        for _, subject, name in row.expected:
            assert f"{subject} {name}: " in output(outcome.deploy), f"{row.name}: {output(outcome.deploy)}"


@pytest.mark.parametrize(("suite", "item"), PLAYED)
def test_nothing_besides_the_tampering_is_found_and_the_plan_says_the_same(
    sites: dict[Suite, Site], suite: Suite, item: Round
) -> None:
    outcome = sites[suite].outcome(item.name)
    drift = outcome.drift
    rows = item.on(suite)
    besides = drift.keys - frozenset().union(*(row.expected for row in rows))
    suspects = [row.name for row in rows if {role for role, *_ in row.expected} & {role for role, *_ in besides}]
    assert not besides, f"{besides}, by one of {suspects}:\n{output(drift.done)}"
    assert not drift.in_sync
    if item.refused:
        assert "Nothing was changed" in output(outcome.plan)
        reasons = [f"{subject} {name}: " for row in rows for _, subject, name in row.expected]
        assert [text for text in reasons if text not in output(outcome.plan)] == []
        return
    assert f"{len(drift.differences)} difference" in output(outcome.plan)
    planned = PLANNED.findall(output(outcome.plan))
    unplanned = [entry for entry in drift.differences if not any(says(line, entry) for line in planned)]
    assert not unplanned and len(planned) == len(drift.differences), output(outcome.plan)
    assert outcome.plan.returncode in (0, 1)


def says(line: str, entry: dict[str, str | None]) -> bool:
    """Whether a line of the plan names this difference with what was found and what is wanted."""
    where = f"{entry['role']}: " if entry["role"] else ""
    told = (f"{entry['name']}: " in line) or (f" {entry['name']} " in line)
    return line.startswith(where) and told and steady(f"{entry['observed']} → {entry['expected']}") in steady(line)


def steady(text: str) -> str:
    """Text without what goes on between two looks: a unit in a loop is restarted again."""
    return re.sub(r"activating( \(.*? restarts\))?", "activating", text)


@pytest.mark.parametrize(("suite", "item"), PLAYED)
def test_after_the_deploy_and_what_people_mended_all_is_in_sync(
    sites: dict[Suite, Site], suite: Suite, item: Round
) -> None:
    outcome = sites[suite].outcome(item.name)
    by_hand = any(row.by_hand for row in item.on(suite))
    assert (outcome.deploy.returncode != 0) == by_hand, output(outcome.deploy)
    assert outcome.left.in_sync, output(outcome.deploy) + output(outcome.left.done)


@pytest.mark.parametrize(("suite", "item"), PLAYED)
def test_no_password_of_the_tampering_is_printed(sites: dict[Suite, Site], suite: Suite, item: Round) -> None:
    outcome = sites[suite].outcome(item.name)
    runs = (outcome.drift.done, outcome.plan, outcome.deploy, outcome.left.done)
    assert [CANARY for done in runs if CANARY in output(done)] == []
    assert CANARY not in json.dumps(outcome.drift.hosts)
