"""A role with a standby, on paper: what is planned, what is refused, and that looking changes nothing."""

from __future__ import annotations

import ssl
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from tasks.catalogue.standby import paired
from tasks.catalogue.tls import digest
from tasks.desired.guard import Mark, with_notes
from tasks.desired.host import Host
from tasks.desired.paths import begun_file, copy_drop_in, handed_over_drop_in, promoted_file
from tasks.observed import exchange
from tasks.observed.connection import open_tunnel
from tasks.observed.state import FileState, Observed, Served
from tasks.prove import proof
from tasks.steps.install import ACCOUNT_RULES, PACKAGE_RULES
from tasks.steps.kernel import KERNEL_FILES
from tests.certificates import Authority, Files
from tests.plan.harness import Result, Site, State, run
from tests.plan.hosts import bare_takes, changing
from tests.unit.builders import as_desired, fresh, passwords, roles, stopped, with_server, with_unit

ONE, OTHER = "redis-crypto", "redis-crypto-2"
PAIR = """
redis_crypto = ["redis-crypto"]
redis_crypto_standby = [("redis-crypto-2", {"redis_overrides": {"crypto": {"address": "172.28.2.15"}}})]
"""
ALONG = """
redis_crypto = [("redis-crypto", {"ssh_hostname": "10.0.0.1", "redis_interface": "eth0"})]
redis_crypto_standby = [("redis-crypto-2", {"ssh_hostname": "10.0.0.2", "redis_interface": "eth0"})]
"""
HANDOVER = "tasks/handover.py --data handover=crypto"


@pytest.fixture
def inventory(tmp_path: Path) -> str:
    file = tmp_path / "pair.py"
    file.write_text(PAIR)
    return str(file)


@pytest.fixture
def secrets_file(tmp_path: Path) -> Path:
    """With a password for whom a standby logs in as."""
    file = tmp_path / "prod.yaml"
    file.write_text(yaml.safe_dump(passwords(*paired(roles().values(), ["crypto"]))))
    file.chmod(0o600)
    return file


def noted(host: Host) -> Observed:
    """A host as desired, which has noted that it serves where it does."""
    return as_desired(with_notes(host, {"crypto": Mark.GONE}))


def serving(host: Host) -> Observed:
    """A host whose server says that it serves, whatever the inventory says."""
    seen = as_desired(host)
    return with_server(seen, "crypto", info={**seen.servers["crypto"].info, "role": "master"})


def keeping(host: Host) -> Observed:
    """A host whose server does not run and has data, as a primary leaves it."""
    seen = stopped(as_desired(host), "crypto")
    begun = {begun_file("crypto"): FileState("file", "root", "root", "0644", "")}
    unit = {**seen.units["redis-crypto.service"], "DropInPaths": ""}
    return replace(seen, files={**seen.files, **begun}, units={**seen.units, "redis-crypto.service": unit})


def looked(
    inventory: str, secrets_file: Path, one: State, other: State, command: str = "deploy.py", *options: str
) -> Result:
    sites = {ONE: Site([one], bare_takes("crypto")), OTHER: Site([other], bare_takes("crypto"))}
    return run(sites, *(options or ("--dry",)), secrets_file=secrets_file, inventory=inventory, command=command)


def test_there_is_nothing_to_do_where_one_serves_and_the_other_follows(inventory: str, secrets_file: Path) -> None:
    result = looked(inventory, secrets_file, noted, noted, "deploy.py", "-y")
    assert result.exit_code == 0, result.output
    assert "nothing to change on 2 hosts" in result.output


@pytest.fixture
def sealed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Files]:
    """The certificates of both hosts, by one authority; the servers of these tests, which speak in clear, show them."""
    authority = Authority()
    files = {
        address: Files(tmp_path / address, address, authority).renew().give("operator", *roles()["crypto"].services)
        for address in (str(roles()["crypto"].address), "172.28.2.15")
    }

    def shows(host: Any, address: str, port: int, *_: Any, **__: Any) -> tuple[Any, Served]:
        return open_tunnel(host, address, port), Served(digest(der_of(files[address])), "2242-03-16", 1 << 32)

    def meets(host: Any, where: tuple[str, int], trust: Any) -> None:
        assert digest(der_of(files[where[0]])) == trust.credentials.digest

    monkeypatch.setattr(exchange, "open_stream", shows)
    monkeypatch.setattr(proof, "meet_from", meets)
    return files


def der_of(files: Files) -> bytes:
    return ssl.PEM_cert_to_DER_cert((files.directory / "server.crt").read_text())


def sealed_pair(inventory: str, files: dict[str, Files]) -> str:
    """The inventory, in which the role of both hosts has `tls`, and its clients show certificates."""
    lines = []
    for (address, own), group, host in zip(
        files.items(), ("redis_crypto", "redis_crypto_standby"), (ONE, OTHER), strict=True
    ):
        tls = own.block(client_auth="yes", clients=str(own.directory / "clients"))
        data = {"redis_overrides": {"crypto": {"address": address, "tls": tls}}}
        lines.append(f"{group} = [({host!r}, {data!r})]\n")
    Path(inventory).write_text("".join(lines))
    return inventory


def test_there_is_nothing_to_do_where_one_serves_and_the_other_follows_by_tls(
    inventory: str, secrets_file: Path, sealed: dict[str, Files]
) -> None:
    result = looked(sealed_pair(inventory, sealed), secrets_file, noted, noted, "deploy.py", "-y")
    assert result.exit_code == 0, result.output
    assert "nothing to change on 2 hosts" in result.output


def test_a_standby_by_tls_is_added_to_a_role_without_a_restart(
    inventory: str, secrets_file: Path, sealed: dict[str, Files]
) -> None:
    """Its primary, which has had tls alone, is told live how it copies in its turn."""

    def before(host: Host) -> Observed:
        seen = as_desired(host)
        config = {**seen.servers["crypto"].config, "tls-replication": "no"}
        return with_server(seen, "crypto", config=config)

    result = looked(sealed_pair(inventory, sealed), secrets_file, before, fresh)
    assert result.exit_code == 0, result.output
    said = " ".join(result.output.split())
    assert "redis-crypto: crypto: live: tls-replication no → yes" in said
    assert "Restart" not in " ".join(result.names())
    assert result.names()[-2:] == ["Bring standbys into sync", "Prove the tier"]


def test_a_pair_of_two_authorities_is_refused_and_nobody_is_contacted(
    inventory: str, secrets_file: Path, sealed: dict[str, Files]
) -> None:
    other = sealed["172.28.2.15"]
    other.authority = Authority("another")
    other.renew().give("operator", *roles()["crypto"].services)
    result = looked(sealed_pair(inventory, sealed), secrets_file, noted, noted, "deploy.py", "-y")
    assert result.exit_code != 0
    assert f"{OTHER}: crypto: tls.ca of its standby is not that of {ONE}" in " ".join(result.output.split())
    assert result.events == []


def test_a_standby_that_is_added_is_planned_and_its_primary_is_not_touched(inventory: str, secrets_file: Path) -> None:
    result = looked(inventory, secrets_file, noted, fresh)
    assert result.exit_code == 0, result.output
    said = " ".join(result.output.split())
    assert "crypto: unit redis-crypto.service: inactive → a standby of redis-crypto (let it follow its primary)" in said
    # Until that one was in sync, nobody can be put in the place of its primary.
    mark = f"{ONE}: crypto: file {promoted_file('crypto')}: absent → file root:root 0644 (write)"
    assert mark in said
    assert f"{ONE}: crypto" not in said.replace(mark, "")
    assert result.names()[-2:] == ["Bring standbys into sync", "Prove the tier"]
    assert "Start instances" not in result.names()


def test_a_standby_is_brought_into_sync_behind_the_start_of_its_primary(inventory: str, secrets_file: Path) -> None:
    """However much more there is to do for the primary: pyinfra orders hosts by what they share alone."""

    def down(host: Host) -> Observed:
        seen = stopped(as_desired(host), "crypto")
        return with_unit(seen, "redis-crypto.service", DropInPaths=copy_drop_in("crypto"))

    names = looked(inventory, secrets_file, keeping, down).names()
    assert {"Start instances", "Bring standbys into sync"} <= set(names)
    assert names.index("Start instances") < names.index("Bring standbys into sync")


def test_no_inventory_hands_a_role_over(inventory: str, secrets_file: Path) -> None:
    result = looked(inventory, secrets_file, keeping, serving)
    said = " ".join(result.output.split())
    assert "(let it follow its primary)" in said
    assert "(set it aside, and copy what its primary has)" in said
    assert f"{ONE}: crypto: unit redis-crypto.service: inactive → a standby of {OTHER}" in said
    assert "Start instances" not in result.names()


@pytest.mark.parametrize("command", ["tasks/status.py", "tasks/drift.py", "tasks/verify.py"])
@pytest.mark.parametrize(("both", "code"), [(serving, "TWO-SERVE"), (keeping, "NONE-SERVES")])
def test_every_look_names_a_pair_of_which_nobody_can_tell_who_serves(
    inventory: str, secrets_file: Path, both: State, code: str, command: str
) -> None:
    result = looked(inventory, secrets_file, both, both, command, "-y")
    assert result.exit_code != 0
    assert code in result.output


@pytest.mark.parametrize(("both", "words"), [(serving, "two servers take writes"), (keeping, "nobody serves it")])
def test_where_nobody_can_tell_who_serves_nothing_is_changed(
    inventory: str, secrets_file: Path, both: State, words: str
) -> None:
    result = looked(inventory, secrets_file, both, both, "deploy.py", "-y")
    assert result.exit_code != 0
    assert words in " ".join(result.output.split())
    assert [changing(result.commands(host)) for host in (ONE, OTHER)] == [[], []]
    result = looked(inventory, secrets_file, both, both, HANDOVER, "-y")
    assert result.exit_code != 0
    assert "Nothing was handed over" in result.output


def test_a_handover_that_is_only_looked_at_changes_nothing(inventory: str, secrets_file: Path) -> None:
    result = looked(inventory, secrets_file, as_desired, as_desired, HANDOVER)
    # On paper nobody says that its snapshot is written; on a host it does.
    assert [changing(result.commands(host)) for host in (ONE, OTHER)] == [[], []]
    assert {event.text for event in result.events if "SET" in event.text} == set()


@pytest.fixture
def along(tmp_path: Path) -> str:
    """Both hosts have the role's one address from this tool."""
    file = tmp_path / "along.py"
    file.write_text(ALONG)
    return str(file)


def test_there_is_nothing_to_do_where_the_address_is_with_who_serves(along: str, secrets_file: Path) -> None:
    result = looked(along, secrets_file, noted, noted, "deploy.py", "-y")
    assert result.exit_code == 0, result.output
    assert "nothing to change on 2 hosts" in result.output


def test_what_a_standby_has_of_the_address_is_taken_from_it(along: str, secrets_file: Path) -> None:
    def has_it_too(host: Host) -> Observed:
        seen = noted(host)
        seen = replace(seen, addresses=seen.addresses | {"172.28.2.5"})
        return with_unit(seen, "caas-redis-address-crypto.service", ActiveState="active", UnitFileState="enabled")

    result = looked(along, secrets_file, noted, has_it_too)
    assert result.exit_code == 0, result.output
    assert f"on {ONE} alone, which serves the role (take it from there)" in " ".join(result.output.split())
    assert "Take addresses from standbys" in result.names()
    assert "Keep addresses on their interface" not in result.names()


def test_what_an_address_is_asked_by_is_written_before_the_unit_that_keeps_it(along: str, secrets_file: Path) -> None:
    def bare(host: Host) -> Observed:
        return replace(fresh(host), packages={"iputils-arping": "3:20221126-1"})

    sites = {host: Site([bare], bare_takes("crypto")) for host in (ONE, OTHER)}
    names = run(sites, "--dry", secrets_file=secrets_file, inventory=along).names()
    assert names.index("Write what keeps addresses") < names.index("Keep addresses on their interface")


KEEPER = "caas-redis-address-crypto.service"
TAKE, KEEP = "Take addresses from standbys", "Keep addresses on their interface"


def nowhere(seen: Observed) -> Observed:
    """A host that has not the role's address, and whose keeper does not start at boot."""
    seen = replace(seen, addresses=seen.addresses - {"172.28.2.5"})
    return with_unit(seen, KEEPER, ActiveState="inactive", UnitFileState="disabled")


def test_an_address_comes_to_who_serves_behind_what_said_that_it_is_a_standby(along: str, secrets_file: Path) -> None:
    """What keeps the address takes none while that is there."""

    def down(host: Host) -> Observed:
        return nowhere(keeping(host))

    names = looked(along, secrets_file, down, lambda host: nowhere(serving(host))).names()
    assert names.index("Remove files no role needs") < names.index(KEEP)
    # It answers there as soon as it is told to.
    assert names.index(KEEP) < names.index("Change settings and users live")


def test_an_address_comes_back_to_who_serves_behind_what_kept_it_from_its_start(along: str, secrets_file: Path) -> None:
    fence = handed_over_drop_in("crypto")

    def fenced(host: Host) -> Observed:
        seen = nowhere(noted(host))
        seen = replace(seen, files={**seen.files, fence: FileState("file", "root", "root", "0644", "")})
        return with_unit(seen, "redis-crypto.service", DropInPaths=fence)

    names = looked(along, secrets_file, fenced, noted).names()
    assert names.index("Let roles start again that were not handed over") < names.index(KEEP)


def test_an_address_comes_to_who_serves_behind_its_leave_from_the_other_host(along: str, secrets_file: Path) -> None:
    """However much more there is to do on that one before: pyinfra orders hosts by what they share alone."""

    def holds(host: Host) -> Observed:
        seen = noted(host)
        seen = with_unit(seen, KEEPER, ActiveState="active", UnitFileState="enabled")
        lacks = (*PACKAGE_RULES, *ACCOUNT_RULES, *KERNEL_FILES)
        files = {path: file for path, file in seen.files.items() if path not in lacks}
        return replace(seen, files=files, addresses=seen.addresses | {"172.28.2.5"})

    names = looked(along, secrets_file, lambda host: nowhere(noted(host)), holds).names()
    assert "Write the package rules" in names
    assert names.index(TAKE) < names.index(KEEP)


def test_one_address_on_two_hosts_without_an_interface_is_refused_in_words(tmp_path: Path, secrets_file: Path) -> None:
    file = tmp_path / "half.py"
    file.write_text(ALONG.replace(', "redis_interface": "eth0"})]\nredis', "})]\nredis"))
    result = looked(str(file), secrets_file, fresh, fresh)
    assert result.exit_code != 0
    said = " ".join(result.output.split())
    assert "redis_interface of redis-crypto is not set, expected it on both" in said
    assert "is claimed by" not in said


def test_a_role_without_a_standby_is_not_handed_over(tmp_path: Path, secrets_file: Path) -> None:
    file = tmp_path / "alone.py"
    file.write_text('redis_crypto = ["redis-crypto"]\n')
    sites = {ONE: Site([as_desired])}
    result = run(sites, "-y", secrets_file=secrets_file, inventory=str(file), command=HANDOVER)
    assert result.exit_code != 0
    assert "crypto: no host is its standby, expected one: put it into group redis_crypto_standby" in " ".join(
        result.output.split()
    )


def test_a_standby_alone_is_left_as_it_is(inventory: str, secrets_file: Path) -> None:
    result = looked(inventory, secrets_file, as_desired, keeping, "deploy.py", "-y", "--limit", OTHER)
    assert result.exit_code != 0
    assert "which of its two hosts serves it: unknown" in " ".join(result.output.split())
    assert changing(result.commands(OTHER)) == []
