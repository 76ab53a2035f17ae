"""Metrics on real hosts: what a scrape by plain HTTP says, what the user behind it may, what drifts and is mended."""

import json
import re
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode
from urllib.request import urlopen

import pytest
import redis

from tests.certificates import Authority, Files
from tests.hosts.clients import in_namespace
from tests.hosts.conftest import ROLES, TABLE, Tier, layout, operations, output, overriding, wait_for
from tests.lab.containers import ContainerLab
from tests.lab.debian import Suite
from tests.lab.tools import prometheus
from tests.tree import REPOSITORY

pytestmark = pytest.mark.hosts

SUITES: tuple[Suite, ...] = ("bookworm", "trixie")
ADDRESS, PORT = "172.28.2.1", 9121
PLACE = f"{ADDRESS}:{PORT}"
UNIT = "caas-redis-metrics.service"
UNIT_FILE = f"/etc/systemd/system/{UNIT}"
PASSWORDS = "/etc/redis/metrics.passwords"
WITH_METRICS = ("--data", f"redis_metrics={json.dumps({'address': PLACE})}")
SEALED = "crypto"  # speaks TLS in a test
REFUSED = (
    *("GET test:metrics", "SET test:metrics x", "DEL test:metrics", "EXISTS test:metrics", "SCAN 0", "RANDOMKEY"),
    *("TYPE test:metrics", "OBJECT ENCODING test:metrics", "DBSIZE", "SUBSCRIBE test", "PUBLISH test x", "EVAL x 0"),
    *("CONFIG GET port", "CONFIG SET maxclients 9", "ACL USERS", "ACL SETUSER metrics ~*", "CLIENT LIST"),
    *(
        "CLIENT KILL 127.0.0.1:1",
        "SLOWLOG GET",
        "SLOWLOG RESET",
        "LATENCY RESET",
        "MONITOR",
        "SHUTDOWN",
        "REPLICAOF x 1",
    ),
)


# What exporter and server do themselves is another thing on each Debian; what this tool does about them is the same.
on_each = pytest.mark.parametrize("tier", SUITES, indirect=True, scope="module")
once = pytest.mark.parametrize(
    "tier", [SUITES[0], pytest.param(SUITES[1], marks=pytest.mark.soak)], indirect=True, scope="module"
)


@pytest.fixture(scope="module")
def tier(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tier]:
    """All five roles on one host that measures them, on each Debian."""
    with ContainerLab(layout("onebox", request.param)) as lab:
        secrets = tmp_path_factory.mktemp("metrics") / "secrets.yaml"
        tier = Tier(lab, "inventory/onebox.py", secrets, options=WITH_METRICS)
        tier.deploy()
        yield tier


def get(tier: Tier, url: str) -> str:
    """What plain HTTP says, in the hosts' network."""
    return in_namespace(tier.lab.netns, lambda: str(urlopen(url, timeout=10).read(), "utf-8"))


def target(role: str, scheme: str = "redis") -> str:
    return f"{scheme}://{TABLE[role]['address']}:{TABLE[role]['port']}"


def scraped(tier: Tier, where: str) -> dict[str, str]:
    """Series → value of one scrape."""
    text = get(tier, f"http://{PLACE}/scrape?target={quote(where, safe='')}")
    found = [line.rpartition(" ") for line in text.splitlines() if not line.startswith("#")]
    return {name: value for name, _, value in found}


def exporter(tier: Tier) -> str:
    """The exporter's process."""
    return tier.host("gateway").sh(f"systemctl show -P MainPID {UNIT}").strip()


def in_sync(tier: Tier) -> None:
    """Neither a drift check nor a deploy finds anything to do."""
    done = tier.run("tasks/drift.py")
    assert done.returncode == 0, output(done)
    assert operations(tier.deploy()) == ["Prove the tier"]


def is_up(tier: Tier, *roles: str) -> None:
    for role in roles or ROLES:
        found = scraped(tier, target(role))
        assert found["redis_up"] == "1", found


@on_each
def test_a_scrape_says_that_each_role_is_up_and_how_much_memory_it_has(tier: Tier) -> None:
    for role in ROLES:
        found = scraped(tier, target(role))
        assert found["redis_up"] == "1", found
        assert float(found["redis_memory_used_bytes"]) > 100_000
        with tier.operator(role) as operator:
            assert float(found["redis_memory_max_bytes"]) == int(operator.config_get("maxmemory")["maxmemory"])
            assert {"slowlog|len", "latency|latest", "info"} <= commands(operator)


def commands(client: "redis.Redis") -> set[str]:
    """What the server has been sent."""
    return {name.removeprefix("cmdstat_") for name in client.info("commandstats")}


@on_each
def test_nothing_but_the_slow_log_is_refused_to_it_and_the_journal_has_no_complaint(tier: Tier) -> None:
    with tier.operator("shared") as operator:
        operator.execute_command("ACL LOG RESET")
        for _ in range(3):
            scraped(tier, target("shared"))
        denied = [(item["username"], item["object"]) for item in operator.acl_log() if item["username"] == "metrics"]
    assert denied == [("metrics", "slowlog|get")]
    assert "NOPERM" not in tier.host("shared").sh(f"journalctl -q --no-pager -u {UNIT}")


@on_each
def test_a_second_deploy_does_nothing(tier: Tier) -> None:
    in_sync(tier)


@on_each
def test_the_user_behind_it_reads_no_key_and_administers_nothing(tier: Tier) -> None:
    for role in ROLES:
        with tier.client(role, TABLE[role]["services"][0]) as service:
            service.set("test:metrics", "a value", ex=60)
        with tier.client(role, "metrics") as client:
            for words in REFUSED:
                with pytest.raises(redis.exceptions.NoPermissionError):
                    client.execute_command(*words.split())
            assert client.info("server")
            client.connection_pool.disconnect()  # else a rotation of its password could not be finished


@on_each
def test_its_password_stands_in_no_argument_variable_journal_or_unit(tier: Tier) -> None:
    host, pid = tier.host("gateway"), exporter(tier)
    said = host.sh(
        f"tr '\\0' '\\n' </proc/{pid}/cmdline; tr '\\0' '\\n' </proc/{pid}/environ; journalctl -q --no-pager; "
        f"systemctl show {UNIT}; cat {UNIT_FILE}"
    )
    assert PLACE in said
    for role in ROLES:
        assert tier.passwords[role]["metrics"] not in said
    assert host.sh(f"stat -c '%U:%G %a' {PASSWORDS}").strip() == "root:root 600"


@on_each
def test_a_place_that_a_scrape_makes_up_is_told_no_password(tier: Tier) -> None:
    def heard(where: str) -> bytes:
        """What comes to a listener that a scrape names."""
        with socket.create_server(("0.0.0.0", 0)) as server, socket.create_connection((ADDRESS, PORT), 5) as asking:
            server.settimeout(5)
            own = f"{asking.getsockname()[0]}:{server.getsockname()[1]}"
            query = urlencode({"target": where.replace("PLACE", own)})
            asking.sendall(f"GET /scrape?{query} HTTP/1.0\r\nHost: {PLACE}\r\n\r\n".encode())
            with server.accept()[0] as came:
                came.settimeout(5)
                return came.recv(4096)

    known = {tier.passwords[role]["metrics"] for role in ROLES}
    for where in ("redis://PLACE", "redis://metrics@PLACE", "PLACE", "redis://172.28.2.1:6379@PLACE"):
        said = in_namespace(tier.lab.netns, partial(heard, where)).decode()
        assert said
        assert "AUTH" not in said.upper()
        assert not [password for password in known if password in said]


@on_each
def test_the_exporter_is_shut_in(tier: Tier) -> None:
    host, pid = tier.host("gateway"), exporter(tier)
    status = host.sh(f"cat /proc/{pid}/status")
    for line in ("CapEff:\t0+", "CapBnd:\t0+", "NoNewPrivs:\t1", "Seccomp:\t2", r"Uid:\t[1-9][0-9]+\t.*"):
        assert re.search(f"^{line}$", status, re.MULTILINE), line
    files = host.sh(
        f"ls -A /proc/{pid}/root/etc /proc/{pid}/root/var /proc/{pid}/root/home /proc/{pid}/root/root || true"
    )
    assert not re.search("redis|passwd|shadow|ssh", files), files


@on_each
def test_the_package_s_own_exporter_never_runs(tier: Tier) -> None:
    said = tier.host("gateway").sh(
        "systemctl show -P LoadState -P ActiveState prometheus-redis-exporter.service; "
        "journalctl -q --no-pager -o cat -u prometheus-redis-exporter.service; ss -Hltn 'sport = :9121'"
    )
    assert said.split()[:2] == ["masked", "inactive"]
    assert [line.split()[3] for line in said.splitlines() if "LISTEN" in line] == [PLACE]
    assert "Providing metrics" not in said


BREAKS = {
    "its unit is edited": (f"sed -i 's/^Nice=10$/Nice=0/' {UNIT_FILE}", f"file {UNIT_FILE}"),
    "its unit is edited and loaded": (
        f"sed -i 's/^Nice=10$/Nice=0/' {UNIT_FILE}; systemctl daemon-reload; systemctl restart {UNIT}",
        f"file {UNIT_FILE}",
    ),
    "it is stopped": (f"systemctl stop {UNIT}", f"unit {UNIT}"),
    "it is disabled": (f"systemctl -q disable {UNIT}", f"unit {UNIT}"),
    "its passwords are others": (f"sed -i 's/: \"/: \"x/' {PASSWORDS}; systemctl restart {UNIT}", f"file {PASSWORDS}"),
    "its passwords are for everybody": (f"chmod 0644 {PASSWORDS}", f"file {PASSWORDS}"),
    "its passwords are gone": (f"rm {PASSWORDS}", f"file {PASSWORDS}"),
    "the package's own is unmasked": (
        "systemctl -q unmask prometheus-redis-exporter.service",
        "unit prometheus-redis-exporter.service",
    ),
    "its package is gone": ("dpkg -r prometheus-redis-exporter >/dev/null 2>&1", "package prometheus-redis-exporter"),
}


@once
def test_what_somebody_breaks_is_found_and_mended_together(tier: Tier, tmp_path: Path) -> None:
    mended(
        tier,
        tmp_path,
        "its unit is edited and loaded",
        "it is disabled",
        "its passwords are for everybody",
        "the package's own is unmasked",
    )


@once
@pytest.mark.soak
@pytest.mark.parametrize("what", BREAKS)
def test_what_somebody_breaks_is_found_and_mended(tier: Tier, tmp_path: Path, what: str) -> None:
    mended(tier, tmp_path, what)


def mended(tier: Tier, tmp_path: Path, *what: str) -> None:
    """All of it is found, and a deploy mends it without a server that ends."""
    pids = {role: tier.pid(role) for role in ROLES}
    for each in what:
        tier.host("gateway").sh(BREAKS[each][0])
    assert {BREAKS[each][1] for each in what} <= drifted(tier, tmp_path)
    tier.deploy()
    is_up(tier)
    assert tier.host("gateway").sh(f"systemctl show -P Nice {UNIT}").strip() == "10"
    in_sync(tier)
    assert {role: tier.pid(role) for role in ROLES} == pids


def drifted(tier: Tier, directory: Path, *options: str) -> set[str]:
    """What a drift check finds: `subject name`."""
    report = directory / "drift.json"
    done = tier.run("tasks/drift.py", "--data", f"drift_report={report}", *options)
    assert done.returncode != 0, output(done)
    (host,) = json.loads(report.read_text())["hosts"].values()
    assert not [secret for users in tier.passwords.values() for secret in users.values() if secret in str(host)]
    return {f"{item['subject']} {item['name']}" for item in host["differences"]}


@once
def test_a_user_that_somebody_removed_or_gave_more_is_found_and_mended(tier: Tier, tmp_path: Path) -> None:
    with tier.operator("socket") as one, tier.operator("shared") as other:
        one.execute_command("ACL", "DELUSER", "metrics")
        other.execute_command("ACL", "SETUSER", "metrics", "~*", "+get")
        assert scraped(tier, target("socket"))["redis_up"] == "0"
        assert "acl metrics" in drifted(tier, tmp_path)
        verified = tier.run("tasks/verify.py")
        assert "socket: what Prometheus is told: observed" in output(verified)
    tier.deploy()
    is_up(tier)
    in_sync(tier)


@on_each
def test_a_new_password_is_what_the_exporter_logs_in_with_and_the_old_one_ends(tier: Tier) -> None:
    before, pid = tier.passwords["gateway"]["metrics"], exporter(tier)
    tier.deploy("--data", "rotate=gateway:metrics")
    assert tier.passwords["gateway"]["metrics"] != before
    assert exporter(tier) != pid
    is_up(tier)
    tier.deploy("--data", "rotate_finish=gateway:metrics")
    is_up(tier)
    in_sync(tier)


@once
def test_a_port_that_somebody_has_stops_the_deploy_before_anything_changes(tier: Tier) -> None:
    done = tier.run("deploy.py", "--data", f"redis_metrics={json.dumps({'address': f'{ADDRESS}:22'})}")
    assert done.returncode != 0
    assert "Nothing was changed" in output(done)
    assert "sshd" in output(done)
    in_sync(tier)


@once
def test_another_port_is_taken_by_a_restart_of_the_exporter_alone(tier: Tier) -> None:
    pids = {role: tier.pid(role) for role in ROLES}
    tier.deploy("--data", f"redis_metrics={json.dumps({'address': f'{ADDRESS}:9122'})}")
    assert "redis_exporter" in get(tier, f"http://{ADDRESS}:9122/metrics")
    tier.deploy()
    is_up(tier)
    assert {role: tier.pid(role) for role in ROLES} == pids


# --- Prometheus, configured as README says


def configured() -> str:
    """The block of README, as a file."""
    text = (REPOSITORY / "README.md").read_text()
    found = re.search(r"^    scrape_configs:\n(?:    .*\n)+", text, re.MULTILINE)
    assert found
    return re.sub("^    ", "", found[0], flags=re.MULTILINE)


def test_what_readme_says_to_prometheus_is_what_promtool_takes(tmp_path: Path) -> None:
    file = tmp_path / "prometheus.yaml"
    file.write_text(configured())
    words = [str(prometheus() / "promtool"), "check", "config", str(file)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    assert {role for role in ROLES if f"role: {role}," in file.read_text()} == set(ROLES)


SAMPLES = int(re.findall(r"sample_limit: ([0-9]+)", configured())[0])


@contextmanager
def watching(tier: Tier, directory: Path) -> Iterator[str]:
    """A Prometheus in the hosts' network, of README's configuration: with one exporter, and without the wait."""
    text = re.sub(r'__exporter: "[0-9.:]+"', f'__exporter: "{PLACE}"', configured()).replace("15s", "1s")
    (directory / "prometheus.yaml").write_text(text)
    words = [
        *("nsenter", f"--net=/run/netns/{tier.lab.netns}", "--", str(prometheus() / "prometheus")),
        f"--config.file={directory / 'prometheus.yaml'}",
        f"--storage.tsdb.path={directory / 'data'}",
        "--web.listen-address=127.0.0.1:9090",
    ]
    with (directory / "log").open("w") as log, subprocess.Popen(words, stdout=log, stderr=log) as process:
        try:
            yield "http://127.0.0.1:9090/api/v1/query?"
        finally:
            process.terminate()


def series(tier: Tier, url: str, query: str) -> dict[tuple[str, str], float]:
    """(role, instance) → value; empty while there is none."""
    try:
        answer: dict[str, Any] = json.loads(get(tier, url + urlencode({"query": query})))
    except OSError:
        return {}
    found = [(item["metric"], float(item["value"][1])) for item in answer["data"]["result"]]
    return {(labels["role"], labels["instance"]): value for labels, value in found}


@once
def test_prometheus_has_the_figures_of_each_role_under_its_name_and_address(tier: Tier, tmp_path: Path) -> None:
    places = {(role, target(role).removeprefix("redis://")) for role in ROLES}
    with watching(tier, tmp_path) as url:
        wait_for(lambda: series(tier, url, "redis_up == 1").keys() == places, "each role is up", 60)
        assert series(tier, url, "redis_memory_max_bytes").keys() == places
        scrapes = series(tier, url, "scrape_samples_scraped")
        assert scrapes.keys() == places
        assert max(scrapes.values()) < SAMPLES / 4
        tier.host("crypto").sh("systemctl stop redis-crypto.service")
        try:
            wait_for(lambda: {role for role, _ in series(tier, url, "redis_up == 0")} == {"crypto"}, "one is down")
        finally:
            tier.host("crypto").sh("systemctl start redis-crypto.service")
    wait_for(lambda: tier.answers("crypto"), "it is up again")


@once
def test_taken_away_it_leaves_no_process_unit_file_or_user_and_comes_back(tier: Tier) -> None:
    without = Tier(tier.lab, tier.inventory, tier.secrets)
    pids = {role: tier.pid(role) for role in ROLES}
    without.deploy()
    host = tier.host("gateway")
    assert "metrics" not in host.sh("ls /etc/redis /etc/systemd/system; ps ax -o args; cat /etc/redis/*.acl")
    assert host.sh("ss -Hltn 'sport = :9121'") == ""
    for role in ROLES:
        with tier.operator(role) as operator:
            assert "metrics" not in operator.acl_users()
    in_sync(without)
    tier.deploy()
    is_up(tier)
    assert {role: tier.pid(role) for role in ROLES} == pids


# --- TLS: last, for the role stays so


@on_each
def test_a_role_that_speaks_tls_is_measured_where_it_shows_whose_it_is(tier: Tier, tmp_path: Path) -> None:
    service, address = TABLE[SEALED]["services"][0], TABLE[SEALED]["address"]
    files = Files(tmp_path / "files", address, Authority()).renew().give(service, "operator", "metrics")
    sealed = overriding({SEALED: {"tls": files.block(client_auth="yes", clients=str(files.directory / "clients"))}})
    tier.deploy(*sealed, "--data", f"tls_switch={SEALED}")
    found = scraped(tier, target(SEALED, "rediss"))
    assert found["redis_up"] == "1", found
    is_up(tier, "gateway")
    assert scraped(tier, target(SEALED))["redis_up"] == "0"
    assert operations(tier.deploy(*sealed)) == ["Prove the tier"]

    host = tier.host(SEALED)
    host.sh(f"cat >/etc/redis/metrics.authorities; systemctl restart {UNIT}", input=Authority("other").pem.decode())
    wait_for(lambda: PLACE in host.sh("ss -Hltn"), "it listens")
    assert scraped(tier, target(SEALED, "rediss"))["redis_up"] == "0"
    assert "file /etc/redis/metrics.authorities" in drifted(tier, tmp_path, *sealed)
    tier.deploy(*sealed)
    assert scraped(tier, target(SEALED, "rediss"))["redis_up"] == "1"
