"""A role with `tls` and a standby: the two speak TLS to each other for good, and show each other their certificates."""

from __future__ import annotations

import json
import re
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import redis

from tests.bench.handover import LIBRARY
from tests.certificates import Authority, Files
from tests.hosts import figures
from tests.hosts.clients import client, in_namespace
from tests.hosts.conftest import Tier, output, wait_for
from tests.hosts.followers import following, lacking
from tests.hosts.test_move_tls import options
from tests.lab.containers import ContainerLab
from tests.lab.layouts import HostSpec

pytestmark = pytest.mark.hosts

ADDRESS = {"one": "172.28.2.101", "two": "172.28.2.102"}
ONE, TWO = ADDRESS
ROLE, SERVICE, PORT = "crypto", "crypto-service", 6383
WAITED = "handover of a pair by TLS: its writers waited"
HANDED_OVER = re.compile(
    r"crypto: handed over: its writers waited ([0-9]+) ms; (\S+) serves it, (\S+) is its standby, in sync"
)
HANDOVER = ("tasks/handover.py", "--data", "handover=crypto")
KEYS = {f"kept:{number}": str(number) for number in range(2000)}
AUTHORITY = Authority()
JOURNAL = "journalctl --boot --output=cat --unit=redis-crypto"


@dataclass
class Pair:
    """The two hosts of role crypto, each with a certificate of its own."""

    tier: Tier
    files: dict[str, Files]

    def written(self, **role: Any) -> Pair:
        """The inventory names the first host for the role, and the second one as its standby."""
        lines = []
        for name, address in ADDRESS.items():
            own = self.files[name]
            tls = own.block(client_auth="yes", clients=str(own.directory / "clients")) | role.get("tls", {})
            fields = {"address": address, "tls": tls}
            data = {"ssh_hostname": address, "ssh_user": "root", "redis_overrides": {ROLE: fields}}
            group = f"redis_{ROLE}" if name == ONE else f"redis_{ROLE}_standby"
            lines.append(f"{group} = [({name!r}, {data!r})]\n")
        Path(self.tier.inventory).write_text("".join(lines))
        return self

    def renewed(self) -> Pair:
        """Each host has a new certificate of the same authority on the controller."""
        for own in self.files.values():
            own.renew(usage="both")
        return self

    def at(self, host: str, user: str = "operator", port: int = PORT) -> redis.Redis:
        """A plain client of the server on a host."""
        login = {"username": user, "password": self.tier.passwords[ROLE][user]}
        return sealed_client(self, host, port, **login, **options(self.files[host], user))

    def takers(self) -> list[str]:
        """The hosts whose server takes a service's write."""
        found = []
        for host in ADDRESS:
            try:
                with self.at(host, SERVICE) as service:
                    service.set("test:taker", host)
                    found.append(host)
            except redis.RedisError:
                pass
        return found

    def follows(self, host: str, port: int = PORT, sealed: str = "yes") -> bool:
        """Whether the server on a host is linked to one that serves, by TLS or not; `port`: where it is asked.

        Its own log is whole by then: amid its first one after a full copy a server does not end when it is told to.
        """
        try:
            with self.at(host, port=port) as known:
                info, kept = known.info("replication"), known.info("persistence")
                if kept["aof_rewrite_in_progress"] or kept["aof_rewrite_scheduled"]:
                    return False
                found = known.config_get("tls-replication")["tls-replication"]
        except redis.RedisError:
            return False
        return (info["role"], info.get("master_link_status"), found) == ("slave", "up", sealed)

    def served(self, host: str) -> bytes:
        """The certificate that the server on a host shows."""
        where = (ADDRESS[host], PORT)
        return in_namespace(self.tier.lab.netns, lambda: ssl.get_server_certificate(where, timeout=5)).encode()

    def pids(self) -> dict[str, str]:
        return {name: self.sh(name, "systemctl show -P MainPID redis-crypto") for name in ADDRESS}

    def sh(self, host: str, command: str, **more: Any) -> str:
        return self.tier.lab.hosts[host].sh(command, **more)


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    here = tmp_path_factory.mktemp("pair")
    with ContainerLab([HostSpec(name, (address,), "bookworm") for name, address in ADDRESS.items()]) as lab:
        tier = Tier(lab, str(here / "two.py"), here / "secrets.yaml")
        files = {
            name: Files(here / name, address, AUTHORITY).renew(usage="both").give(SERVICE, "operator")
            for name, address in ADDRESS.items()
        }
        made = Pair(tier, files).written()
        made.tier.deploy()
        with made.at(ONE, SERVICE) as service:
            service.mset(KEYS)
        with made.at(ONE) as operator:
            operator.function_load(LIBRARY)
        yield made


def sealed_client(pair: Pair, host: str, port: int = PORT, **own: Any) -> redis.Redis:
    """A client that speaks TLS to the server on a host, and shows what is given; always in the lab."""

    class LabConnection(redis.SSLConnection):
        def _connect(self) -> Any:
            return in_namespace(pair.tier.lab.netns, super()._connect)  # type: ignore[misc]

    own = {name: value for name, value in own.items() if name != "ssl"}
    pool = redis.ConnectionPool(
        connection_class=LabConnection,
        host=ADDRESS[host],
        port=port,
        decode_responses=True,
        **{"socket_timeout": 5, "retry": None, **own},
    )
    return redis.Redis(connection_pool=pool)


REFUSED = "no connection"


def answers(client: redis.Redis) -> str:
    """What a client is told that asks for nothing but an answer."""
    try:
        return str(client.ping())
    except redis.AuthenticationError as error:
        return str(error)
    except redis.ConnectionError:
        return REFUSED
    finally:
        client.close()


def test_a_standby_copies_by_tls_and_whoever_speaks_in_clear_or_shows_nothing_is_refused(pair: Pair) -> None:
    assert pair.tier.deploy_json()["results"]["totals"]["success"] == 0
    wait_for(lambda: pair.follows(TWO), "the standby is in sync")
    assert pair.takers() == [ONE]
    with pair.at(TWO) as known:
        assert known.info("keyspace")["db0"]["keys"] >= len(KEYS)
    # Every connection between the two is to or from the TLS port, which takes no other.
    for host in ADDRESS:
        in_clear = client(pair.tier.lab.netns, ADDRESS[host], PORT, SERVICE, pair.tier.passwords[ROLE][SERVICE])
        without = sealed_client(pair, host, **options(pair.files[host]))
        shown = sealed_client(pair, host, **options(pair.files[host], SERVICE))
        assert [answers(one) == REFUSED for one in (in_clear, without, shown)] == [True, True, False]
        with pair.at(host) as known:
            assert known.config_get("port")["port"] == "0"
            assert known.config_get("tls-auth-clients")["tls-auth-clients"] == "yes"
    for command in ("tasks/drift.py", "tasks/verify.py", "tasks/status.py"):
        done = pair.tier.run(command)
        assert done.returncode == 0, output(done)


def test_a_role_is_handed_over_and_back_by_tls_and_loses_no_acknowledged_write(pair: Pair) -> None:
    pids, waited = pair.pids(), list[int]()
    login = (SERVICE, pair.tier.passwords[ROLE][SERVICE])
    places = [(address, PORT) for address in ADDRESS.values()]
    with following(pair.tier, "TLS, handed over and back", *login, *places, **options(pair.files[ONE], SERVICE)) as met:
        for source, target in ((ONE, TWO), (TWO, ONE)):
            done = pair.tier.run(*HANDOVER)
            assert done.returncode == 0, output(done)
            found = HANDED_OVER.search(output(done))
            assert found is not None, output(done)
            assert found.groups()[1:] == (target, source)
            waited.append(int(found[1]))
            assert pair.takers() == [target]
    with pair.at(ONE, SERVICE) as known:
        assert set(lacking(known, met).values()) == {0}
        assert known.mget(*KEYS) == list(KEYS.values())
    figures.add(WAITED, f"{waited[0]:5} ms there, {waited[1]:5} ms back")
    assert met.gap < 6
    assert pair.pids() == pids
    assert pair.tier.deploy_json()["results"]["totals"]["success"] == 0


def test_new_certificates_are_loaded_on_both_sides_and_the_link_goes_on_by_them(pair: Pair) -> None:
    pids = pair.pids()
    pair.renewed().tier.deploy()
    assert pair.pids() == pids
    assert pair.follows(TWO)
    for host in ADDRESS:
        assert pair.served(host) == (pair.files[host].directory / "server.crt").read_bytes()
    told(pair, ONE, "CLIENT", "KILL", "TYPE", "replica")
    wait_for(lambda: pair.follows(TWO), "the standby is linked again, by the new certificates")
    assert pair.tier.deploy_json()["results"]["totals"]["success"] == 0


def told(pair: Pair, host: str, *command: str, port: int = PORT) -> None:
    """Somebody who may do everything tells a server something."""
    with pair.at(host, port=port) as known:
        known.acl_setuser("test", enabled=True, passwords=["+a-password"], keys=["*"], categories=["+@all"])
        own = options(pair.files[host], "operator")
        with sealed_client(pair, host, port, username="test", password="a-password", **own) as anybody:
            anybody.execute_command(*command)  # type: ignore[no-untyped-call]
        known.acl_deluser("test")


def test_one_with_another_certificate_of_the_authority_is_found_and_nothing_is_handed_over(pair: Pair) -> None:
    """Redis follows whoever has a certificate of its ca: the tool says whose it is to be."""
    wrong = Files(Path(pair.tier.inventory).parent / "wrong", "172.28.2.77", AUTHORITY).renew(usage="both")
    text = "".join((wrong.directory / name).read_text() for name in ("server.crt", "server.key"))
    pair.sh(ONE, "cp -p /etc/redis/crypto.pem /root/ && cat >/etc/redis/crypto.pem", input=text)
    try:
        pem = "/etc/redis/crypto.pem"
        told(pair, ONE, "CONFIG", "SET", "tls-cert-file", pem, "tls-key-file", pem)
        for command in (("tasks/verify.py",), HANDOVER):
            done = pair.tier.run(*command)
            assert done.returncode != 0, output(done)
        assert pair.follows(TWO)
    finally:
        pair.sh(ONE, "cp -p /root/crypto.pem /etc/redis/ && systemctl restart redis-crypto")
    wait_for(lambda: pair.follows(TWO), "the standby follows as before")
    assert pair.tier.run("tasks/verify.py").returncode == 0


def test_the_drift_of_either_side_is_brought_back(pair: Pair, tmp_path: Path) -> None:
    for host in ADDRESS:
        told(pair, host, "CONFIG", "SET", "tls-replication", "no")
    report = tmp_path / "drift.json"
    assert pair.tier.run("tasks/drift.py", "--data", f"drift_report={report}").returncode != 0
    hosts = json.loads(report.read_text())["hosts"]
    for host in ADDRESS:
        found = [(item["name"], item["observed"], item["expected"]) for item in hosts[host]["differences"]]
        assert found == [("tls-replication", "no", "yes")]
    pids = pair.pids()
    pair.tier.deploy()
    assert pair.pids() == pids
    assert pair.follows(TWO)


def test_a_host_that_was_booted_asks_the_other_one_by_tls_and_serves(pair: Pair) -> None:
    pair.sh(ONE, "systemctl stop redis-crypto; rm -f /run/caas-redis/crypto.served; systemctl start redis-crypto")
    assert pair.takers() == [ONE]
    wait_for(lambda: pair.follows(TWO), "the standby follows as before")
    # Nor does it serve where the other one does, or cannot be asked.
    pair.sh(TWO, "systemctl stop redis-crypto")
    pair.sh(
        ONE, "systemctl stop redis-crypto; rm -f /run/caas-redis/crypto.served; systemctl start --no-block redis-crypto"
    )
    wait_for(lambda: "Connection refused" in pair.sh(ONE, JOURNAL), "it says that nobody told it")
    assert pair.takers() == []
    pair.sh(TWO, "systemctl start redis-crypto")
    wait_for(lambda: pair.takers() == [ONE], "it serves when the standby says that it follows")


def test_a_standby_is_promoted_and_the_old_one_follows_it_by_tls_when_it_is_back(pair: Pair) -> None:
    wait_for(lambda: pair.follows(TWO), "the standby is in sync")
    with pair.at(ONE, SERVICE) as service:
        service.set("written:last", "here it is")
    wait_for(lambda: pair.follows(TWO), "the standby is in sync")
    host = pair.tier.lab.hosts[ONE]
    host.kill()
    # What is left gets new certificates, as where those of before have ended.
    done = pair.renewed().tier.run("deploy.py", "--exclude", ONE)
    assert pair.served(TWO) == (pair.files[TWO].directory / "server.crt").read_bytes(), output(done)
    done = pair.tier.run("tasks/handover.py", "--data", "promote=crypto", "--data", "old_is_off=true")
    assert done.returncode == 0, output(done)
    assert pair.takers() == [TWO]
    with pair.at(TWO, SERVICE) as known:
        assert known.mget(*KEYS) == list(KEYS.values())
    host.boot()
    said = f"not started: {ADDRESS[TWO]}:{PORT} serves it"
    wait_for(lambda: said in pair.sh(ONE, JOURNAL), "the old one says that it was replaced")
    assert pair.takers() == [TWO]
    pair.tier.deploy()
    assert pair.follows(ONE)
    done = pair.tier.run(*HANDOVER)
    assert done.returncode == 0, output(done)
    assert pair.takers() == [ONE]


@pytest.mark.soak
def test_a_pair_speaks_in_clear_amid_a_switch_and_by_tls_again_behind_it_and_nothing_restarts(pair: Pair) -> None:
    pids, second = pair.pids(), 7383
    pair.written(tls={"port": second}).tier.deploy("--data", "tls_switch=crypto")
    told(pair, ONE, "CLIENT", "KILL", "TYPE", "replica", port=second)
    wait_for(lambda: pair.follows(TWO, second, "no"), "the standby is linked again, in clear")
    assert pair.tier.deploy_json()["results"]["totals"]["success"] == 0
    done = pair.tier.run(*HANDOVER)
    assert done.returncode == 0, output(done)
    done = pair.tier.run(*HANDOVER)
    assert done.returncode == 0, output(done)
    pair.written().tier.deploy("--data", "tls_switch=crypto")
    told(pair, ONE, "CLIENT", "KILL", "TYPE", "replica")
    wait_for(lambda: pair.follows(TWO), "the standby is linked again, by TLS")
    assert pair.takers() == [ONE]
    assert pair.pids() == pids
    assert pair.tier.deploy_json()["results"]["totals"]["success"] == 0
