"""Proofs on another host than the one that makes the copies, behind sftp; their bounds, and one that is killed."""

import json
import os
import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.hosts.conftest import Tier, layout, operations, output, wait_for
from tests.hosts.placing import NEW, OLD, at, placed
from tests.hosts.proving import proves
from tests.hosts.test_backup import DAMAGES
from tests.hosts.test_backup import ROLE as THEIRS
from tests.lab.containers import ContainerLab
from tests.lab.debian import Suite
from tests.lab.layouts import HostSpec

pytestmark = pytest.mark.hosts

ROLE, STORE = "crypto", "172.28.2.250"
REPOSITORY = f"sftp:root@{STORE}:/srv/backups"
PLAN = {"repository": REPOSITORY, "roles": [ROLE], "prove_on": {ROLE: NEW}}
UNIT = f"caas-redis-proof-{ROLE}"


def planned(**changes: object) -> tuple[str, ...]:
    return ("--data", f"redis_backup={json.dumps(PLAN | changes)}")


def open_the_way(lab: ContainerLab, name: str) -> None:
    """Root of a host may log in to the host that stores the copies, and knows it."""
    host, key = lab.hosts[name], "/root/.ssh/id_ed25519"
    host.sh(f"mkdir -p -m 0700 /root/.ssh; test -e {key} || ssh-keygen -q -t ed25519 -N '' -f {key}")
    store = lab.hosts["store"]
    store.sh(
        "mkdir -p -m 0700 /root/.ssh /srv/backups; cat >>/root/.ssh/authorized_keys", input=host.sh(f"cat {key}.pub")
    )
    host.sh(f"ssh-keyscan -t ed25519 {STORE} >/root/.ssh/known_hosts 2>/dev/null")


@pytest.fixture(scope="module", params=["bookworm", pytest.param("trixie", marks=pytest.mark.soak)])
def tier(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Tier]:
    """crypto on one host, whose copies the host of socket proves; by restic 0.14 and 0.18."""
    directory: Path = tmp_path_factory.mktemp("elsewhere")
    suite: Suite = request.param
    with ContainerLab((*layout("prod", suite)[:2], HostSpec("store", (STORE,)))) as lab:
        for name in (OLD, NEW):
            open_the_way(lab, name)
        tier = Tier(lab, str(directory / "two.py"), directory / "secrets.yaml", planned())
        placed(tier, crypto=OLD, socket=NEW).deploy()
        yield tier


def filled(tier: Tier, mebibytes: int = 2) -> None:
    """Values that nobody can make smaller, and a copy of them."""
    with at(tier, OLD) as client, client.pipeline(transaction=True) as block:
        for number in range(mebibytes * 4):
            block.set(f"test:fill:{number}", os.urandom(1 << 18)).set(f"test:small:{number}", "x")
        block.execute()
    done = tier.run("tasks/backup.py")
    assert done.returncode == 0, output(done)


def proof(tier: Tier) -> tuple[int, str]:
    """How the unit that proves ended, and what it said."""
    host, since = tier.lab.hosts[NEW], time.time()
    ended = not proves(host, ROLE)
    return int(ended), host.sh(f"journalctl -q --no-pager -o cat --since=@{since:.0f} -u {UNIT}.service")


def left(tier: Tier) -> str:
    """What of a proof is there when none runs."""
    return tier.lab.hosts[NEW].sh(
        "ls /var/lib/caas-redis-proof; systemctl list-units --all --plain --no-legend 'caas-redis-scratch-*'"
    )


def test_copies_are_proved_on_the_host_that_is_named(tier: Tier) -> None:
    home, prover = tier.lab.hosts[OLD], tier.lab.hosts[NEW]
    filled(tier)
    ended, said = proof(tier)
    assert ended == 0, said
    assert re.search(rf"{ROLE}: the copy of .* was loaded by a server: [1-9][0-9]* keys, [1-9]", said)
    assert left(tier) == ""
    assert home.call(f"systemctl cat {UNIT}.timer").returncode != 0
    assert prover.sh(f"systemctl is-enabled {UNIT}.timer; systemctl is-active {UNIT}.timer") == "enabled\nactive\n"
    assert prover.sh(f"stat -c '%U %a' /etc/redis/{ROLE}.backup") == "root 600\n"
    assert "READER" not in prover.sh(f"cat /etc/redis/{ROLE}.backup")
    assert f"/etc/redis/{ROLE}.acl" not in prover.sh("ls /etc/redis/*")
    known = yaml.safe_load(tier.secrets.read_text())[ROLE]
    for password in known.values():
        assert password not in prover.sh("systemctl show 'caas-redis-*'; journalctl -q --no-pager; ps -eo args")
    for file in ("tasks/verify.py", "tasks/drift.py"):
        done = tier.run(file)
        assert done.returncode == 0, output(done)
    assert operations(tier.deploy()) == ["Prove the tier"]


@pytest.mark.soak
def test_how_old_the_proof_is_stands_in_status_and_metrics_of_the_role(tier: Tier, tmp_path: Path) -> None:
    done = tier.run("tasks/status.py", "--data", f"status_metrics={tmp_path / 'm'}")
    assert done.returncode == 0, output(done)
    line = next(
        line for line in (tmp_path / "m").read_text().splitlines() if "proof_age_seconds{" in line and ROLE in line
    )
    assert f'host="{OLD}"' in line
    assert 0 <= float(line.rpartition(" ")[2]) < 600


ANOTHER_PASSWORD = (
    f"set -a; . /etc/redis/{ROLE}.backup; echo another >/root/new; restic -q key passwd --new-password-file /root/new"
)
SHARE = "changed in one byte"


@pytest.mark.parametrize(
    "damage", [pytest.param(name, marks=[] if name == SHARE else pytest.mark.soak) for name in DAMAGES]
)
def test_the_proof_elsewhere_of_a_backup_goes_red_when_it_is(tier: Tier, damage: str) -> None:
    store, home = tier.lab.hosts["store"], tier.lab.hosts[OLD]
    store.sh(f"rm -rf /srv/backups/{ROLE} /srv/kept")
    home.sh(f"rm -f /var/lib/caas-redis/{ROLE}.backup")
    filled(tier)
    store.sh(f"cp -a /srv/backups/{ROLE} /srv/kept; chmod -R u+w /srv/backups/{ROLE}")
    ended, said = proof(tier)
    assert ended == 0, said
    if damage == "made with another password":
        home.sh(ANOTHER_PASSWORD)
    else:
        store.sh(DAMAGES[damage].replace(THEIRS, ROLE))
    ended, said = proof(tier)
    assert ended != 0
    assert f"{ROLE}: " in said
    done = tier.run("tasks/verify.py")
    assert done.returncode == 1
    assert f"{ROLE}: critical PROOF-FAILED: of {OLD}: " in output(done)
    assert left(tier) == ""
    store.sh(f"rm -rf /srv/backups/{ROLE}; cp -a /srv/kept /srv/backups/{ROLE}")
    ended, said = proof(tier)
    assert ended == 0, said


@pytest.mark.soak
def test_a_repository_that_was_set_back_is_red_elsewhere_too(tier: Tier) -> None:
    store = tier.lab.hosts["store"]
    store.sh(f"rm -rf /srv/earlier; cp -a /srv/backups/{ROLE} /srv/earlier")
    filled(tier)
    assert proof(tier)[0] == 0
    store.sh(f"mv /srv/backups/{ROLE} /srv/later; cp -a /srv/earlier /srv/backups/{ROLE}")
    ended, said = proof(tier)
    assert ended != 0
    assert "was proved here: it was set back, or somebody deleted it" in said
    store.sh(f"rm -rf /srv/backups/{ROLE}; mv /srv/later /srv/backups/{ROLE}")
    assert proof(tier)[0] == 0


@pytest.mark.soak
def test_who_proves_writes_nothing_to_the_repository(tier: Tier) -> None:
    listing = f"find /srv/backups/{ROLE} -printf '%p %T@\\n' | sort"
    store = tier.lab.hosts["store"]
    before = store.sh(listing)
    assert proof(tier)[0] == 0
    assert store.sh(listing) == before


# What a copy's server does in the proof: the words of the proof, and what systemd says of the server.
BOUNDS = {
    "sleep infinity": ("a server has not loaded the copy of run ", "Killed"),
    f"truncate -s 10G /var/lib/caas-redis-proof/{ROLE}/own/large": ("a server does not load the copy of run ", "XFSZ"),
}
INSTEAD = """#!/bin/sh
case $1 in /var/lib/caas-redis-proof/*) exec {} ;; esac
exec /opt/redis-server "$@"
"""


@pytest.fixture
def server(tier: Tier, request: pytest.FixtureRequest) -> Iterator[str]:
    """The server of a proof does this, and has twenty seconds to load; afterwards what it is."""
    directory = f"/run/systemd/system/{UNIT}.service.d"
    host = tier.lab.hosts[NEW]
    host.sh(f"mkdir -p {directory}; printf '[Service]\\nEnvironment=patience=20\\n' >{directory}/bound.conf")
    host.sh("ln -s /usr/bin/redis-check-rdb /opt/redis-server; mv /usr/bin/redis-server /opt/was")
    host.sh("cat >/usr/bin/redis-server; chmod 0755 /usr/bin/redis-server", input=INSTEAD.format(request.param))
    host.sh("systemctl daemon-reload")
    yield request.param
    host.sh(f"mv /opt/was /usr/bin/redis-server; rm -r /opt/redis-server {directory}; systemctl daemon-reload")


@pytest.mark.soak
@pytest.mark.parametrize("server", BOUNDS, indirect=True, ids=("time", "disk"))
def test_a_proof_that_meets_a_bound_ends_in_words_and_leaves_nothing(tier: Tier, server: str) -> None:
    filled(tier)
    since = time.time()
    ended, said = proof(tier)
    assert ended != 0
    words, signal = BOUNDS[server]
    assert words in said
    own = f"journalctl -q --no-pager --since=@{since:.0f} -u caas-redis-scratch-{ROLE}.service"
    assert signal.lower() in tier.lab.hosts[NEW].sh(own).lower()
    assert left(tier) == ""
    assert tier.answers("socket")


@pytest.mark.soak
def test_a_killed_proof_leaves_nothing_behind(tier: Tier) -> None:
    host = tier.lab.hosts[NEW]
    filled(tier, 40)
    host.sh(f"systemctl start --no-block {UNIT}.service")
    scratch = f"caas-redis-scratch-{ROLE}.service"
    host.sh(f"timeout 120 sh -c 'until systemctl is-active --quiet {scratch}; do :; done'")
    host.sh(f"systemctl kill --signal=KILL {UNIT}.service")
    wait_for(lambda: host.call(f"systemctl is-active {UNIT}").stdout.strip() == "failed", "it has ended", 60)
    wait_for(lambda: left(tier) == "", "what it left is gone", 60)
    assert tier.answers("socket")
    ended, said = proof(tier)
    assert ended == 0, said


def test_proved_at_home_again_the_other_host_keeps_no_password(tier: Tier) -> None:
    home, prover = tier.lab.hosts[OLD], tier.lab.hosts[NEW]
    at_home = Tier(tier.lab, tier.inventory, tier.secrets, planned(prove_on=None))
    at_home.deploy()
    listing = "ls /etc/redis /etc/systemd/system /etc/sysusers.d /usr/local/lib/caas-redis 2>/dev/null || true"
    assert ROLE not in prover.sh(listing)
    assert "caas-redis-proof" not in prover.sh(f"systemctl list-timers --all; {listing}")
    assert proves(home, ROLE)
    assert operations(at_home.deploy()) == ["Prove the tier"]
    tier.deploy()
    assert home.call(f"systemctl cat {UNIT}.timer").returncode != 0
    assert proof(tier)[0] == 0
    assert operations(tier.deploy()) == ["Prove the tier"]
