"""A role that speaks TLS moves: its servers and its clients check each other, and nothing goes in clear or is lost."""

import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from tests.bench.handover import LIBRARY
from tests.certificates import Authority, Files
from tests.hosts.clients import in_namespace
from tests.hosts.conftest import TABLE, Tier, output
from tests.hosts.faults import assert_nothing_left
from tests.hosts.followers import following, lacking
from tests.lab.containers import ContainerLab
from tests.lab.layouts import HostSpec

pytestmark = pytest.mark.hosts

OWN = {"one": "172.28.2.101", "two": "172.28.2.102"}
ROLE, SERVICE = "crypto", "crypto-service"
ADDRESS, PORT = TABLE[ROLE]["address"], TABLE[ROLE]["port"]
KEYS = {f"kept:{number}": str(number) for number in range(2000)}


@pytest.fixture
def tier(tmp_path: Path) -> Iterator[Tier]:
    with ContainerLab([HostSpec(name, (address,), "bookworm") for name, address in OWN.items()]) as lab:
        yield Tier(lab, str(tmp_path / "tls.py"), tmp_path / "secrets.yaml")


def placed(tier: Tier, where: str, address: str, tls: dict[str, Any], interface: str | None) -> Tier:
    """The role on one of the hosts, at an address, with these files."""
    lines = []
    for name, own in OWN.items():
        data: dict[str, Any] = {"ssh_hostname": own, "ssh_user": "root"}
        if name == where:
            data["redis_overrides"] = {ROLE: {"address": address, "tls": tls}}
            data |= {"redis_interface": interface} if interface else {}
        lines.append(f"{f'redis_{ROLE}' if name == where else 'spare'} = [({name!r}, {data!r})]\n")
    Path(tier.inventory).write_text("".join(lines))
    return tier


def options(files: Files, user: str = "") -> dict[str, Any]:
    """Of redis-py: how a client of the role speaks TLS, and shows its certificate, where it has one."""
    own = {f"ssl_{what}file": str(files.directory / "clients" / f"{user}.{end}") for what, end in ENDS} if user else {}
    return {"ssl": True, "ssl_ca_certs": str(files.directory / "ca.crt"), "ssl_check_hostname": True, **own}


ENDS = (("cert", "crt"), ("key", "key"))


def connected(tier: Tier, user: str, address: str, **own: Any) -> "redis.Redis":
    """A plain client in the lab."""
    login: dict[str, Any] = {"username": user, "password": tier.passwords[ROLE][user], "decode_responses": True}
    return in_namespace(
        tier.lab.netns, lambda: redis.Redis(address, PORT, single_connection_client=True, **login, **own)
    )


def fill(tier: Tier, address: str, files: Files, *users: str) -> None:
    """The role has keys, and the function that its clients call."""
    shown = users or ("", "")
    with connected(tier, SERVICE, address, **options(files, shown[0])) as known:
        known.mset(KEYS)
    with connected(tier, "operator", address, **options(files, shown[1])) as operator:
        operator.function_load(LIBRARY)


def holds_all(known: "redis.Redis") -> None:
    assert known.mget(*KEYS) == list(KEYS.values())


def test_a_role_whose_clients_show_certificates_moves_along_with_its_address(tier: Tier, tmp_path: Path) -> None:
    files = Files(tmp_path / "files", ADDRESS, Authority()).renew().give(SERVICE, "operator")
    tls = files.block(client_auth="yes", clients=str(files.directory / "clients"))
    placed(tier, "one", ADDRESS, tls, "host0").deploy()
    fill(tier, ADDRESS, files, SERVICE, "operator")
    moved = placed(tier, "two", ADDRESS, tls, "host0")
    plan = output(moved.run("deploy.py", "--dry", yes=False))
    assert f"clients pause about 1 s, {ADDRESS} comes along" in plan
    login, own = (SERVICE, tier.passwords[ROLE][SERVICE]), options(files, SERVICE)
    with following(tier, "TLS, along with its address", *login, (ADDRESS, PORT), **own) as followed:
        done = moved.deploy()
    assert f"{ROLE}: moved from one: handed over" in output(done)
    with connected(tier, SERVICE, ADDRESS, **own) as known:
        assert set(lacking(known, followed).values()) == {0}
        holds_all(known)
    with connected(tier, "operator", ADDRESS, **options(files, "operator")) as operator:
        assert operator.config_get("tls-replication") == {"tls-replication": "no"}
    assert followed.gap < 6  # a SYN that is lost is sent again after one second, and after two more
    done = moved.run("tasks/drift.py")
    assert done.returncode == 0, output(done)
    assert_nothing_left(moved)


@pytest.mark.soak
def test_a_role_with_tls_moves_to_an_address_for_which_it_has_another_certificate(tier: Tier, tmp_path: Path) -> None:
    authority = Authority()
    old, new = (Files(tmp_path / name, address, authority).renew() for name, address in OWN.items())
    placed(tier, "one", OWN["one"], old.block(), None).deploy()
    fill(tier, OWN["one"], old)
    # Whoever has another certificate of the same authority in that place is not the role.
    wrong = Files(tmp_path / "wrong", ADDRESS, authority).renew()
    text = "".join((wrong.directory / name).read_text() for name in ("server.crt", "server.key"))
    one = tier.lab.hosts["one"]
    one.sh("cp -p /etc/redis/crypto.pem /root/ && cat >/etc/redis/crypto.pem", input=text)
    one.sh("systemctl restart redis-crypto")
    moved = placed(tier, "two", OWN["two"], new.block(), None)
    refused = moved.run("deploy.py")
    assert refused.returncode != 0
    assert tier.lab.hosts["two"].sh("systemctl is-active redis-crypto || true").strip() == "inactive"
    one.sh("cp -p /root/crypto.pem /etc/redis/ && systemctl restart redis-crypto")

    login = (SERVICE, tier.passwords[ROLE][SERVICE])
    places = ((OWN["one"], PORT), (OWN["two"], PORT))
    with following(tier, "TLS, to another address", *login, *places, **options(old)) as followed:
        done = moved.deploy()
    assert f"then at {OWN['two']}:{PORT}" in output(done)
    with connected(tier, SERVICE, OWN["two"], **options(new)) as known:
        assert set(lacking(known, followed).values()) == {0}
        holds_all(known)
    served = in_namespace(tier.lab.netns, lambda: ssl.get_server_certificate((OWN["two"], PORT), timeout=5))
    assert served.encode() == (new.directory / "server.crt").read_bytes()
    assert followed.gap < 2
    assert_nothing_left(moved)
