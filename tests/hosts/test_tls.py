"""TLS on real hosts, as plain clients meet it: who is served, who is not, and what a new certificate costs them."""

import json
import ssl
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import redis
import yaml
from redis.backoff import NoBackoff
from redis.retry import Retry

from tests.certificates import DAY, Authority, Files
from tests.hosts.clients import can_connect, in_namespace
from tests.hosts.conftest import INNER_PORT, TABLE, Finished, Tier, layout, output, overriding, wait_for
from tests.hosts.faults import every_fault
from tests.hosts.runbook_steps import follow, sees
from tests.hosts.writer import writing
from tests.lab.containers import REPOSITORY, ContainerLab
from tests.lab.debian import Suite
from tests.runbook import entries

pytestmark = pytest.mark.hosts

ROLE = "crypto"
ADDRESS, PORT = TABLE[ROLE]["address"], TABLE[ROLE]["port"]
SERVICE = TABLE[ROLE]["services"][0]
SECOND = 7383

# Sends MULTI over one connection, again and again; says how often for each line that it is given.
TRANSACTIONS = """
import json, sys, threading
import redis
wanted = json.loads(sys.stdin.readline())
made, failed, seen = 0, [], threading.Event()
class Counted(redis.SSLConnection):
    count = 0
    def connect(self, *args, **options):
        Counted.count += self._sock is None
        return super().connect(*args, **options)
pool = redis.ConnectionPool(connection_class=Counted, max_connections=1, retry=None, **wanted)
client = redis.Redis(connection_pool=pool)
def work():
    global made
    while not seen.is_set():
        try:
            with client.pipeline(transaction=True) as pipe:
                assert pipe.incr("test:tls").expire("test:tls", 600).execute()[1]
            made += 1
        except Exception as error:
            failed.append(repr(error))
            break
worker = threading.Thread(target=work)
worker.start()
for line in sys.stdin:
    print(json.dumps([made, failed, Counted.count]), flush=True)
seen.set()
worker.join()
"""


@dataclass
class Seen:
    """What a client that sends transactions has met."""

    process: "subprocess.Popen[str]"
    failed: list[str] = field(default_factory=list)
    connections: int = 0

    @property
    def count(self) -> int:
        """How many have succeeded until now."""
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.write("how many\n")
        self.process.stdin.flush()
        made, self.failed, self.connections = json.loads(self.process.stdout.readline())
        return int(made)


@contextmanager
def transactions(tier: Tier, files: "Files", port: int = PORT) -> Iterator[Seen]:
    """A client in a process of its own sends them as long as the body runs."""
    into = ["nsenter", f"--net={tier.lab.record.netns}", "--", sys.executable, "-c", TRANSACTIONS]
    with subprocess.Popen(into, cwd=REPOSITORY, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin
        wanted = {
            "host": ADDRESS,
            "port": port,
            "username": SERVICE,
            "password": tier.passwords[ROLE][SERVICE],
            "ssl_ca_certs": str(files.directory / "ca.crt"),
        }
        process.stdin.write(json.dumps(wanted) + "\n")  # never in an argument list
        process.stdin.flush()
        seen = Seen(process)
        try:
            wait_for(lambda: seen.count or seen.failed, "a first transaction")
            yield seen
            assert seen.count
        finally:
            process.stdin.close()


def squeezed(done: Finished) -> str:
    """What a command printed, in one line."""
    return " ".join(output(done).split())


class Client:
    """redis-py with TLS and nothing of ours but the namespace."""

    def __init__(self, tier: Tier, files: Files, port: int = PORT, user: str = "", **options: Any) -> None:
        password = tier.passwords[ROLE][SERVICE]
        own: dict[str, Any] = {}
        if user:
            own = {f"ssl_{what}": str(files.directory / "clients" / f"{user}.{end}") for what, end in ENDS.items()}
        self.redis = in_namespace(
            tier.lab.netns,
            lambda: redis.Redis(
                ADDRESS,
                port,
                username=SERVICE,
                password=password,
                ssl=True,
                ssl_ca_certs=str(files.directory / "ca.crt"),
                ssl_check_hostname=True,
                single_connection_client=True,
                retry=Retry(NoBackoff(), 0),
                **own,
                **options,
            ),
        )

    def __enter__(self) -> "redis.Redis":
        return self.redis

    def __exit__(self, *_: object) -> None:
        self.redis.close()


ENDS = {"certfile": "crt", "keyfile": "key"}


def served(tier: Tier, port: int = PORT) -> bytes:
    """The certificate that is served, as openssl would be shown it."""

    return in_namespace(tier.lab.netns, lambda: ssl.get_server_certificate((ADDRESS, port), timeout=5)).encode()


def tls(files: Files, plain_inner_port: bool = False, **more: Any) -> tuple[str, ...]:
    """The options that let the role speak TLS."""
    return overriding({ROLE: {"tls": files.block(**more), "plain_inner_port": plain_inner_port}})


def drift(tier: Tier, report: Path, *options: str) -> dict[str, Any]:
    """What a drift check reports of the role's host."""
    tier.run("tasks/drift.py", "--data", f"drift_report={report}", *options)
    (found,) = json.loads(report.read_text())["hosts"].values()
    return dict(found)


def fresh(suite: Suite, directory: Path) -> Iterator[tuple[Tier, Files]]:
    """A host with nothing on it, and files for its role."""
    with ContainerLab(layout("onebox", suite)) as lab:
        files = Files(directory / "files", ADDRESS, Authority()).renew().give(SERVICE, "operator")
        yield Tier(lab, "inventory/onebox.py", directory / "secrets.yaml"), files


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Tier, Files]]:
    """The same of Debian 13."""
    yield from fresh("trixie", tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Tier, Files]]:
    """A tier of Debian 12, in clear; each test leaves it so."""
    for tier, files in fresh("bookworm", tmp_path_factory.mktemp("tls")):
        tier.deploy()
        yield tier, files


@pytest.fixture(scope="module")
def secured(begun: tuple[Tier, Files]) -> tuple[Tier, Files]:
    """The same tier, whose role speaks TLS on both ports."""
    tier, files = begun
    tier.deploy(*tls(files), *SWITCH)
    return begun


SWITCH = ("--data", f"tls_switch={ROLE}")


def test_a_role_begins_with_tls_on_both_ports_and_a_client_checks_all_of_it(
    bare: tuple[Tier, Files], tmp_path: Path
) -> None:
    tier, files = bare
    tier.deploy(*tls(files))
    for port in (PORT, INNER_PORT):
        with Client(tier, files, port) as client:
            assert client.ping()
        assert served(tier, port) == (files.directory / "server.crt").read_bytes()
        with tier.client(ROLE, SERVICE, port) as client, pytest.raises(redis.ConnectionError):
            client.ping()
    assert drift(tier, tmp_path / "report", *tls(files))["status"] == "in_sync"
    assert tier.deploy_json(*tls(files))["results"]["totals"]["success"] == 0
    assert tier.run("tasks/verify.py", *tls(files)).returncode == 0
    changed_under_transactions(tier, files)


def changed_under_transactions(tier: Tier, files: Files) -> None:
    """A new certificate is served, and a client that sends one transaction after the other has seen nothing of it."""
    pid = tier.pid(ROLE)
    before = served(tier)
    with transactions(tier, files) as seen:
        files.renew()
        tier.deploy(*tls(files))
        assert served(tier) == (files.directory / "server.crt").read_bytes() != before
        count = seen.count
        wait_for(lambda: seen.count > count, "a transaction after the change")
    assert (seen.failed, seen.connections) == ([], 1)
    assert tier.pid(ROLE) == pid
    assert tier.deploy_json(*tls(files))["results"]["totals"]["success"] == 0


def test_a_running_role_is_not_switched_over_unasked_and_the_plan_locks_nobody_out(
    begun: tuple[Tier, Files], tmp_path: Path
) -> None:
    tier, files = begun
    pid = tier.pid(ROLE)
    refused = tier.run("deploy.py", *tls(files))
    assert refused.returncode != 0
    assert f"locks out who connects in clear on {PORT} or {INNER_PORT}: give the role a second port first" in squeezed(
        refused
    )
    assert tier.deploy_json()["results"]["totals"]["success"] == 0  # nothing has been changed

    with writing(tier, ROLE, "TLS on a second port") as as_before:
        tier.deploy(*tls(files, port=SECOND))
        assert tier.pid(ROLE) == pid
    assert (as_before.result.failed, as_before.result.connections) == (0, 1)
    with tier.client(ROLE, SERVICE) as connected:
        assert connected.ping()
        assert drift(tier, tmp_path / "report", *tls(files, port=SECOND))["status"] == "in_sync"
        with Client(tier, files, SECOND) as client:
            assert client.ping()
        the_second_port_is_watched(tier, files, tmp_path)
        # The services change over one by one; then the second port becomes the role's own.
        moved = {"tls": files.block(), "port": SECOND}
        assert f"locks out who connects in clear on {PORT}" in squeezed(
            tier.run("deploy.py", *overriding({ROLE: moved}))
        )
        with transactions(tier, files, SECOND) as seen:
            tier.deploy(*overriding({ROLE: moved}), *SWITCH)
            assert tier.pid(ROLE) == pid
        assert (seen.failed, seen.connections) == ([], 1)
        with Client(tier, files, INNER_PORT) as client:
            assert client.ping()
        assert connected.ping()  # who was connected in clear stays so
    assert not can_connect(tier.lab.netns, ADDRESS, PORT)
    # And back: the old port first, beside the new one.
    back = {"tls": files.block(port=SECOND)}
    tier.deploy(*overriding({ROLE: back}), *SWITCH)
    assert tier.pid(ROLE) == pid
    assert "locks out who connects with TLS" in squeezed(tier.run("deploy.py"))
    tier.deploy(*SWITCH)
    assert tier.pid(ROLE) == pid
    assert tier.host(ROLE).sh("ls /etc/redis/*.pem /etc/redis/*.ca 2>/dev/null || true") == ""
    assert tier.pid(ROLE) == pid
    assert tier.deploy_json()["results"]["totals"]["success"] == 0


def test_files_of_services_are_written_only_for_what_is_served_and_was_seen(
    begun: tuple[Tier, Files], tmp_path: Path
) -> None:
    tier, files = begun
    host, ways, second = tier.host(ROLE), tmp_path / "ways", tls(files, port=SECOND)

    def refused(*options: str) -> str:
        done = tier.run("tasks/endpoints.py", "--data", f"endpoints_dir={ways}", *options)
        assert done.returncode != 0, output(done)
        assert not ways.exists()
        return squeezed(done)

    # Before the deploy that makes it so.
    assert f"{ROLE}: port {PORT} speaks in clear" in refused(*tls(files))
    assert f"{ROLE}: port {SECOND} is not listened on" in refused(*second)
    assert f"{ROLE}: port 6390 is not listened on" in refused(*overriding({ROLE: {"port": 6390}}))
    # An inner port that nothing leads.
    host.sh("systemctl stop redis-inner-port")
    assert f"{ROLE}: port {INNER_PORT} is not listened on" in refused("--data", "endpoints_port=inner")
    host.sh("systemctl start redis-inner-port")
    # A certificate that nobody saw, and one of somebody else's.
    tier.deploy(*second)
    host.sh(f"systemctl stop redis-{ROLE}")
    assert f"{ROLE}: what it shows on {SECOND} is not known (it does not run)" in refused(*second)
    other = Files(tmp_path / "other", ADDRESS, Authority("somebody else")).renew()
    text = "".join((other.directory / name).read_text() for name in ("server.crt", "server.key"))
    host.sh(f"cp -p /etc/redis/{ROLE}.pem /root/ && cat >/etc/redis/{ROLE}.pem", input=text)
    host.sh(f"systemctl start redis-{ROLE}")
    assert "expected a server that clients with its role's tls.ca trust" in refused(*second)
    host.sh(f"cp -p /root/{ROLE}.pem /etc/redis/ && systemctl restart redis-{ROLE}")
    done = tier.run("tasks/endpoints.py", "--data", f"endpoints_dir={ways}", *second)
    assert done.returncode == 0, output(done)
    tier.deploy(*SWITCH)


def test_turn_on_tls(begun: tuple[Tier, Files], tmp_path: Path) -> None:
    tier, files = begun
    pid, entry = tier.pid(ROLE), entries()["turn-on-tls"]
    locked_out, beside = entry.quotes
    dry, deploy, endpoints, left, switch, verify = entry.commands
    refused = tier.run("deploy.py", *tls(files))
    sees(refused, locked_out)
    assert "(docs/runbook.md#turn-on-tls)" in squeezed(refused)
    second = replace(tier, options=tls(files, port=SECOND))
    done = follow(second, entry.anchor, commands=[dry, deploy, endpoints], places={"DIR": tmp_path / "DIR"})
    sees(done[0], beside)
    handed_out = (tmp_path / "DIR" / f"{SERVICE}.env").read_text()
    assert f"@{ADDRESS}:{SECOND}/0" in handed_out
    assert f"REDIS_CRYPTO_CA={tmp_path}/DIR/{ROLE}.ca.crt\n" in handed_out
    with Client(tier, files, SECOND) as client:
        assert client.ping()
    own = replace(tier, options=overriding({ROLE: {"tls": files.block(), "port": SECOND}}))
    follow(own, entry.anchor, commands=[left, switch, verify])
    with Client(tier, files, SECOND) as client:
        assert client.ping()
    tier.deploy(*overriding({ROLE: {"tls": files.block(port=SECOND)}}), *SWITCH)
    tier.deploy(*SWITCH)
    assert tier.pid(ROLE) == pid


def the_second_port_is_watched(tier: Tier, files: Files, directory: Path) -> None:
    """What it serves is compared and loaded, when it ends is health, and verify has clients there."""
    options = tls(files, port=SECOND)
    before = tier.run("tasks/verify.py", *options)
    assert before.returncode == 0, output(before)
    files.renew(ends=20 * DAY)
    found = drift(tier, directory / "report", *options)
    assert {item["name"] for item in found["differences"]} >= {"certificate that is served"}
    tier.deploy(*options)
    assert served(tier, SECOND) == (files.directory / "server.crt").read_bytes()
    found = drift(tier, directory / "report", *options)
    assert (found["status"], [item["code"] for item in found["health"]]) == ("in_sync", ["CERTIFICATE-ENDS"])
    files.renew()
    tier.deploy(*options)


def test_what_is_set_while_the_server_is_down_locks_nobody_out_of_its_next_start(begun: tuple[Tier, Files]) -> None:
    tier, files = begun
    tier.host(ROLE).sh(f"systemctl stop redis-{ROLE}")
    refused = tier.run("deploy.py", *tls(files))
    assert refused.returncode != 0
    assert f"locks out who connects in clear on {PORT} or {INNER_PORT}" in squeezed(refused)
    tier.deploy()
    with tier.client(ROLE, SERVICE) as client:
        assert client.ping()


def test_the_inner_port_stays_in_clear_where_that_is_wanted_and_the_plan_says_so(begun: tuple[Tier, Files]) -> None:
    tier, files = begun
    options = tls(files, plain_inner_port=True)
    plan = squeezed(tier.run("deploy.py", "--dry", *options, *SWITCH, yes=False))
    assert f"{ROLE}: port {INNER_PORT} stays in clear (plain_inner_port)" in plan
    tier.deploy(*options, *SWITCH)
    with Client(tier, files) as client:
        assert client.ping()
    with tier.client(ROLE, SERVICE, INNER_PORT) as client:
        assert client.ping()
    assert tier.deploy_json(*options)["results"]["totals"]["success"] == 0
    without = tier.run("deploy.py", *SWITCH)
    assert without.returncode != 0
    assert "tls: none, and its server speaks TLS, expected the block that it was deployed with" in squeezed(without)
    with tier.client(ROLE, SERVICE, INNER_PORT) as client:
        assert client.ping()  # nothing has been changed
    tier.deploy(*tls(files, port=SECOND), *SWITCH)
    tier.deploy(*SWITCH)
    assert tier.deploy_json()["results"]["totals"]["success"] == 0


def test_a_new_certificate_is_served_and_no_transaction_fails(secured: tuple[Tier, Files]) -> None:
    changed_under_transactions(*secured)


def test_drift_names_a_swapped_certificate_and_a_deploy_brings_it_back(
    secured: tuple[Tier, Files], tmp_path: Path
) -> None:
    tier, files = secured
    tier.host(ROLE).sh(f"cp -p /etc/redis/{ROLE}.pem /root/kept && echo >>/etc/redis/{ROLE}.pem")
    tier.host(ROLE).sh(f"chmod 0644 /etc/redis/{ROLE}.ca")
    found = drift(tier, tmp_path / "report", *tls(files))
    assert found["status"] == "drifted"
    names = {(item["name"], item["observed"]) for item in found["differences"]}
    assert (f"/etc/redis/{ROLE}.pem", "other content") in names
    assert (f"/etc/redis/{ROLE}.ca", f"file root:redis-{ROLE} 0644") in names
    assert "PRIVATE KEY" not in (tmp_path / "report").read_text()
    tier.deploy(*tls(files))
    assert drift(tier, tmp_path / "report", *tls(files))["status"] == "in_sync"


def test_somebody_with_another_certificate_gets_no_password(secured: tuple[Tier, Files], tmp_path: Path) -> None:
    tier, files = secured
    host = tier.host(ROLE)
    other = Files(tmp_path / "other", ADDRESS, Authority("somebody else")).renew()
    for end, names in (("pem", ("server.crt", "server.key")), ("ca", ("ca.crt",))):
        text = "".join((other.directory / name).read_text() for name in names)
        host.sh(f"cp -p /etc/redis/{ROLE}.{end} /root/ && cat >/etc/redis/{ROLE}.{end}", input=text)
    host.sh(f"systemctl restart redis-{ROLE}")
    pid = tier.pid(ROLE)
    found = drift(tier, tmp_path / "report", *tls(files))
    assert found["status"] == "error"
    (unknown,) = [item for item in found["unknown"] if item["role"] == ROLE]
    assert "its certificate is not the role's" in unknown["because"]
    assert f"/etc/redis/{ROLE}.pem" in unknown["remedy"]
    assert (f"/etc/redis/{ROLE}.pem", "other content") in {
        (item["name"], item["observed"]) for item in found["differences"]
    }
    done = tier.run("deploy.py", *tls(files))
    assert done.returncode != 0
    assert tier.pid(ROLE) == pid  # unknown is no reason for a restart
    host.sh(f"cp -p /root/{ROLE}.* /etc/redis/ && systemctl restart redis-{ROLE}")
    wait_for(lambda: tier.run("tasks/verify.py", *tls(files)).returncode == 0, "the role is well again", 120)


def test_who_shows_no_certificate_is_refused_where_one_is_asked_for(secured: tuple[Tier, Files]) -> None:
    tier, files = secured
    users = ("operator", *TABLE[ROLE]["services"])
    files.give(*users)
    options = tls(files, client_auth="yes", clients=str(files.directory / "clients"))
    refused = tier.run("deploy.py", *options)
    assert refused.returncode != 0
    assert f"locks out who shows no certificate on {PORT} or {INNER_PORT}" in squeezed(refused)
    with Client(tier, files) as client:
        assert client.ping()  # nothing has been changed
    tier.deploy(*options, *SWITCH)
    with Client(tier, files, user=SERVICE) as client:
        assert client.ping()
    with pytest.raises(redis.ConnectionError), Client(tier, files) as client:
        client.ping()
    assert tier.deploy_json(*options)["results"]["totals"]["success"] == 0
    tier.deploy(*tls(files, clients=str(files.directory / "clients")))
    with Client(tier, files) as client:
        assert client.ping()
    tier.deploy(*tls(files))


def test_a_ca_changed_on_the_host_is_brought_back_and_one_that_the_controller_takes_away_needs_the_word(
    secured: tuple[Tier, Files], tmp_path: Path
) -> None:
    tier, files = secured
    users = ("operator", *TABLE[ROLE]["services"])
    files.give(*users)
    clients: dict[str, Any] = {"client_auth": "yes", "clients": str(files.directory / "clients")}
    options, pid = tls(files, **clients), tier.pid(ROLE)
    tier.deploy(*options, *SWITCH)
    tier.host(ROLE).sh(f"cat >/etc/redis/{ROLE}.ca", input=Authority("somebody else").pem.decode())
    assert drift(tier, tmp_path / "report", *options)["status"] == "drifted"
    tier.deploy(*options)
    assert drift(tier, tmp_path / "report", *options)["status"] == "in_sync"
    with Client(tier, files, user=SERVICE) as client:
        assert client.ping()

    new = Files(tmp_path / "new", ADDRESS, Authority("a new one")).renew().give(*users)
    both = new.directory / "both.crt"
    both.write_bytes(files.authority.pem + new.authority.pem)
    with Client(tier, files, user=SERVICE) as before:
        assert before.ping()
        tier.deploy(*tls(files, **clients, ca=str(both)))  # takes both, shows the old one
        tier.deploy(*tls(new, **clients, ca=str(both)))
        # Somebody's change there is no reason to forget whom the controller has let in.
        tier.host(ROLE).sh(f"cat >/etc/redis/{ROLE}.ca", input=new.authority.pem.decode())
        last = tls(new, client_auth="yes", clients=str(new.directory / "clients"))
        refused = tier.run("deploy.py", *last)
        assert refused.returncode != 0
        assert "locks out who shows a certificate of a ca that is not in it any more" in squeezed(refused)
        assert f"--data tls_switch={ROLE}" in squeezed(refused)
        of_old = replace(files, directory=shown(files, new))
        with Client(tier, of_old, user=SERVICE) as client:
            assert client.ping()  # nothing has been loaded
        tier.deploy(*last, *SWITCH)
        assert before.ping()  # who is connected stays so
        with pytest.raises(redis.ConnectionError), Client(tier, of_old, user=SERVICE) as client:
            client.ping()
    with Client(tier, new, user=SERVICE) as client:
        assert client.ping()
    assert tier.pid(ROLE) == pid
    tier.deploy(*tls(new, ca=str(both), clients=str(new.directory / "clients")))
    tier.deploy(*tls(files, ca=str(both)))
    tier.deploy(*tls(files))


def shown(files: Files, new: Files) -> Path:
    """A client's files: certificates of the old authority, and the ca of a server that shows the new one's."""
    directory = new.directory / "old"
    directory.mkdir()
    (directory / "clients").symlink_to(files.directory / "clients")
    (directory / "ca.crt").symlink_to(new.directory / "ca.crt")
    return directory


def test_certificate_runs_out(secured: tuple[Tier, Files]) -> None:
    tier, files = secured
    entry = entries()["certificate-runs-out"]
    files.renew(ends=29 * DAY)
    tier.deploy(*tls(files))
    soon, over, *_ = entry.quotes
    sees(tier.run("tasks/verify.py", *tls(files)), soon)
    # One that has just ended: as nobody is given one, it is served for the moment in which it does.
    files.renew(ends=timedelta(seconds=45))
    tier.deploy(*tls(files))
    wait_for(lambda: "certificate ended on" in squeezed(tier.run("tasks/verify.py", *tls(files))), "it ends", 120)
    sees(tier.run("tasks/verify.py", *tls(files)), over)
    refused = tier.run("deploy.py", *tls(files))
    assert "ran out on" in squeezed(refused)
    files.renew()
    for command in entry.commands:
        done = tier.run(command.split()[-1], *tls(files))
        assert done.returncode == 0, output(done)
    assert "CERTIFICATE-ENDS" not in output(done)


@pytest.mark.soak
@pytest.mark.parametrize("kind", ["kill before", "kill during"])
def test_a_start_at_any_moment_of_a_change_finds_a_certificate_and_its_key(
    secured: tuple[Tier, Files], kind: str
) -> None:
    tier, files = secured
    files.renew()
    for fault in every_fault(tier, kind, "a new certificate", *tls(files)):
        tier.host(ROLE).sh(f"systemctl restart redis-{ROLE}")
        with Client(tier, files) as client:
            assert client.ping(), fault
        files.renew()  # the next one has as much to do
    assert served(tier) == (files.directory / "server.crt").read_bytes()


def test_certificates_and_keys_are_taken_from_the_secrets(begun: tuple[Tier, Files]) -> None:
    tier, files = begun
    users = ("operator", *TABLE[ROLE]["services"])
    files.give(*users)
    kept = tier.secrets.read_text()
    known = yaml.safe_load(kept)
    names = {"certificate": "server.crt", "key": "server.key", "ca": "ca.crt"}
    known[ROLE]["tls"] = {part: (files.directory / name).read_text() for part, name in names.items()}
    own = {"certificate": "crt", "key": "key"}
    known[ROLE]["tls"]["clients"] = {
        user: {part: (files.directory / "clients" / f"{user}.{end}").read_text() for part, end in own.items()}
        for user in users
    }
    tier.secrets.write_text(yaml.safe_dump(known))
    options = overriding({ROLE: {"tls": {"client_auth": "yes"}}})
    done = tier.run("deploy.py", *SWITCH, "-vvv", "--debug", "--diff", *options)
    assert done.returncode == 0, output(done)
    with Client(tier, files, user=SERVICE) as client:
        assert client.ping()
    with pytest.raises(redis.ConnectionError), Client(tier, files) as client:
        client.ping()
    assert tier.run("tasks/verify.py", *options).returncode == 0
    # A rotation writes the file anew, and leaves them there.
    rotated = tier.run("deploy.py", "--data", f"rotate={ROLE}:{SERVICE}", *options)
    assert rotated.returncode == 0, output(rotated)
    assert yaml.safe_load(tier.secrets.read_text())[ROLE]["tls"] == known[ROLE]["tls"]
    keys = [path.read_text().splitlines()[1] for path in files.directory.rglob("*.key")]
    assert [key for key in keys if key in output(done) + output(rotated)] == []
    tier.deploy("--data", f"rotate_undo={ROLE}", *options)
    tier.deploy("--data", f"rotate_finish={ROLE}", *options)
    tier.deploy(*overriding({ROLE: {"tls": {"port": SECOND}}}), *SWITCH)
    tier.deploy(*SWITCH)
    tier.secrets.write_text(kept)
    assert tier.deploy_json()["results"]["totals"]["success"] == 0
