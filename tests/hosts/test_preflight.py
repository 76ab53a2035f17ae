"""An unfit host stops the run in words, with nothing changed anywhere."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.hosts.conftest import Tier, layout, output, wait_for
from tests.lab.containers import ContainerLab

pytestmark = pytest.mark.hosts


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tier]:
    """Five bare hosts that every test here leaves bare."""
    with ContainerLab(layout("prod", "bookworm")) as lab:
        yield Tier(lab, "inventory/prod.py", tmp_path_factory.mktemp("bare") / "secrets.yaml")


def assert_refused(tier: Tier, *words: str, options: tuple[str, ...] = ()) -> None:
    """The deploy fails, says all of `words` without a traceback, and no host has anything of ours."""
    done = tier.run("deploy.py", *options)
    assert done.returncode != 0
    for text in (*words, "Nothing was changed"):
        assert text in output(done), output(done)
    assert "Traceback" not in output(done)
    for host in tier.lab.hosts.values():
        assert host.sh("ls -d /etc/redis /etc/systemd/system/redis-* 2>/dev/null || true") == ""
    assert not tier.secrets.exists()


def test_too_little_memory_and_disk_are_refused_with_the_numbers(bare: Tier) -> None:
    options = ("--data", 'redis_overrides={"shared": {"maxmemory": "900gb"}, "crypto": {"maxmemory": "900gb"}}')
    assert_refused(
        bare,
        "redis-shared: memory: shared 900gb need",
        "redis-shared: disk: /var/lib/redis needs",
        "redis-crypto: memory: crypto 900gb need",
        options=options,
    )


TWO_NAMES = """
redis_gateway = [("one", {"ssh_hostname": "172.28.2.1", "ssh_user": "root"})]
redis_socket = [("other", {"ssh_hostname": "172.28.2.1", "ssh_user": "root"})]
redis_crypto = [("third", {"ssh_hostname": "172.28.2.5", "ssh_user": "root"})]
"""


def test_two_names_for_one_machine_are_refused(bare: Tier, tmp_path: Path) -> None:
    inventory = tmp_path / "names.py"
    inventory.write_text(TWO_NAMES)
    words = ("one: which roles are to be on this machine: unknown, because it is other as well", "other: which roles")
    assert_refused(replace(bare, inventory=str(inventory)), *words)
    done = replace(bare, inventory=str(inventory)).run("tasks/drift.py")
    assert output(done).count("as well (the same") == 2
    assert "third: which" not in output(done)


def test_a_missing_address_is_refused(bare: Tier) -> None:
    options = ("--data", 'redis_overrides={"socket": {"address": "172.28.2.77"}}')
    assert_refused(bare, "redis-socket: socket: address 172.28.2.77: absent", options=options)


def test_a_port_that_another_process_holds_is_refused_with_its_name(bare: Tier) -> None:
    host = bare.host("compliance")
    host.sh(
        "systemd-run --quiet --unit=squatter perl -MIO::Socket::INET -e "
        "'IO::Socket::INET->new(LocalAddr => \"172.28.2.4\", LocalPort => 6382, Listen => 1) and sleep 300'"
    )
    try:
        host.sh("timeout 10 sh -c 'until ss -Hltn | grep -q :6382; do sleep 0.1; done'")
        assert_refused(bare, "redis-compliance: compliance: port 172.28.2.4:6382 is held by perl, pid")
    finally:
        host.sh("systemctl stop squatter")


def test_the_inner_port_counts_as_well(bare: Tier) -> None:
    host = bare.host("crypto")
    host.sh(
        "systemd-run --quiet --unit=squatter perl -MIO::Socket::INET -e "
        "'IO::Socket::INET->new(LocalAddr => \"0.0.0.0\", LocalPort => 6379, Listen => 1) and sleep 300'"
    )
    try:
        host.sh("timeout 10 sh -c 'until ss -Hltn | grep -q :6379; do sleep 0.1; done'")
        assert_refused(bare, "redis-crypto: crypto: port 172.28.2.5:6379 is held by perl, pid")
    finally:
        host.sh("systemctl stop squatter")


def test_a_user_without_root_is_refused(bare: Tier) -> None:
    assert_refused(bare, "redis-gateway: not root", "redis-crypto: not root", options=("--ssh-user", "admin"))


def test_sudo_that_asks_for_a_password_is_refused(bare: Tier) -> None:
    host = bare.host("gateway")
    saved = host.sh("tar -cC / etc/sudoers etc/sudoers.d | base64")
    host.sh("sed -i 's/NOPASSWD://' /etc/sudoers /etc/sudoers.d/* 2>/dev/null")
    try:
        words = "redis-gateway: could not be read: look.sh: sudo asks for a password"
        assert_refused(bare, words, options=("--ssh-user", "admin", "--sudo"))
    finally:
        host.sh("base64 -d | tar -xC /", input=saved)


def test_a_system_other_than_debian_is_refused(bare: Tier) -> None:
    host = bare.host("socket")
    host.sh(
        "cp -a --remove-destination /etc/os-release /etc/os-release.kept 2>/dev/null; "
        "cp /usr/lib/os-release /root/os-release; "
        "rm /etc/os-release; printf 'ID=fedora\\nPRETTY_NAME=\"Fedora 43\"\\n' > /etc/os-release"
    )
    try:
        assert_refused(bare, "redis-socket: system: Fedora 43, expected Debian")
    finally:
        host.sh(
            "rm -f /etc/os-release /etc/os-release.kept /root/os-release\nln -s ../usr/lib/os-release /etc/os-release"
        )


def test_data_of_an_unknown_origin_is_refused_rather_than_started_beside(bare: Tier) -> None:
    host = bare.host("gateway")
    left = "/var/lib/redis/gateway/appendonlydir"
    host.sh(f"mkdir -p {left} && echo >{left}/appendonly.aof.1.incr.aof")
    try:
        found = (
            "redis-gateway: gateway: persistence /var/lib/redis/gateway/appendonlydir/appendonly.aof.manifest: absent"
        )
        assert_refused(bare, found, "would begin empty: keep a copy first")
    finally:
        host.sh("rm -r /var/lib/redis")


def test_a_host_that_cannot_be_reached_stops_the_others(bare: Tier) -> None:
    host = bare.host("shared")
    host.sh("systemctl stop ssh.service")
    try:
        assert_refused(bare, "redis-shared: not reachable over SSH")
    finally:
        host.sh("systemctl start ssh.service")


def test_a_limit_that_matches_nobody_is_an_error(bare: Tier) -> None:
    for file in ("deploy.py", "tasks/verify.py"):
        done = bare.run(file, "--limit", "no-such-host")
        assert done.returncode != 0
        assert "No host to look at" in output(done)


def test_a_deploy_that_nobody_can_confirm_is_refused(bare: Tier) -> None:
    done = bare.run("deploy.py", yes=False)
    assert done.returncode != 0
    assert "add -y to apply or --dry to look" in output(done)
    assert "Traceback" not in output(done)


def test_a_secrets_file_that_others_may_read_is_refused_before_any_contact(bare: Tier, tmp_path: Path) -> None:
    open_file = tmp_path / "open.yaml"
    open_file.write_text("{}")
    open_file.chmod(0o644)
    tier = Tier(bare.lab, bare.inventory, open_file)
    done = tier.run("deploy.py")
    assert done.returncode != 0
    assert "mode is 0644, expected 0600: run chmod 600" in output(done)
    assert "Connected" not in output(done)


# --- apt

CONF = "/etc/apt/apt.conf.d"
BIND = "mount --bind {0} {0}; mount -o remount,ro,bind {0}"
NO_PIN = "printf 'Package: redis-server redis-tools\\nPin: release *\\nPin-Priority: -1\\n' >/etc/apt/preferences.d/no"
APT = {
    "held": ("apt-mark hold redis-tools", "apt-mark unhold redis-tools", "packages: redis-tools held, expected free"),
    "no candidate": (
        NO_PIN,
        "rm /etc/apt/preferences.d/no",
        "packages: no source of apt offers redis-server, expected",
    ),
    "/etc/apt read-only": (BIND.format(CONF), f"umount {CONF}", f"{CONF}: cannot be written (a file system that is"),
    "/var read-only": (BIND.format("/var"), "umount -l /var", "/var/lib/dpkg: cannot be written"),
    "dpkg interrupted": ("touch /var/lib/dpkg/updates/0001", "rm /var/lib/dpkg/updates/0001", "dpkg: was interrupted"),
    "user without its group": (
        "useradd --system --user-group redis; groupdel --force redis",
        "userdel redis",
        "and there is no group redis, expected group redis: groupadd --system redis",
    ),
}


@pytest.mark.parametrize("case", APT)
def test_an_apt_that_would_fail_is_refused_before_anything_is_changed(bare: Tier, case: str) -> None:
    host = bare.host("crypto")
    break_it, mend_it, words = APT[case]
    host.sh(break_it)
    try:
        assert_refused(bare, f"redis-crypto: {words}" if not words.startswith("and") else words)
        assert host.sh("systemctl is-enabled redis-server 2>/dev/null || true") == ""
    finally:
        host.sh(mend_it)


def test_a_version_that_no_source_offers_is_refused_with_those_that_are_there(bare: Tier) -> None:
    there = bare.host("crypto").sh("apt-cache madison redis-server | cut -d '|' -f 2 | xargs echo").split()
    words = f"packages: no source of apt offers redis-server 5:9.9.9-1, expected one of {', '.join(there)}: correct"
    assert_refused(bare, words, options=("--data", "redis_version=5:9.9.9-1"))


# As apt and dpkg lock: fcntl(2), F_SETLK. Perl is Essential; `struct flock` of 64-bit Linux.
LOCK = """
open F, '>>', $ARGV[0];
my $lock = pack('s s x4 q q l x4', 1, 0, 0, 0, 0);
fcntl(F, 6, $lock) or die $!;
open G, '>', '/run/locked';
sleep 600;
"""


@pytest.mark.parametrize("file", ["/var/lib/apt/lists/lock", "/var/lib/dpkg/lock-frontend"])
def test_another_apt_is_waited_for_and_named(bare: Tier, tmp_path: Path, file: str) -> None:
    host, said = bare.host("socket"), tmp_path / "said"
    host.sh("cat >/run/lock.pl", input=LOCK)
    host.sh(f"systemd-run -q --collect --unit=other-apt perl /run/lock.pl {file}")
    wait_for(lambda: host.call("test -e /run/locked").returncode == 0, "somebody else works with apt")
    words = ["-y", "--limit", "redis-socket", "--data", f"redis_secrets_file={tmp_path / 'secrets.yaml'}"]
    command = [str(Path(sys.executable).with_name("pyinfra")), *words, bare.inventory, "deploy.py"]
    with said.open("w") as out:
        deploy = subprocess.Popen(
            ["nsenter", f"--net={bare.lab.record.netns}", "--", *command],
            env=os.environ | {"HOME": str(bare.lab.home)},
            cwd=bare.repository,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
        )
    try:
        wait_for(lambda: "waiting" in said.read_text() or deploy.poll() is not None, "it waits", 60)
        assert re.search(r"apt is held by process \d+ \(perl\): waiting", said.read_text()), said.read_text()
        assert host.call("test -e /usr/bin/redis-server").returncode != 0
        host.sh("systemctl stop other-apt")
        assert deploy.wait(120) == 0, said.read_text()
    finally:
        deploy.kill()
        host.call("systemctl stop other-apt; rm -f /run/locked")
        host.reset()


def test_a_broken_source_of_somebody_else_s_keeps_nothing_from_being_installed(bare: Tier, tmp_path: Path) -> None:
    host = bare.host("socket")
    host.sh("echo 'deb file:/nowhere stable main' >/etc/apt/sources.list.d/broken.list")
    host.sh("rm -f /var/lib/apt/periodic/update-success-stamp")
    try:
        tier = replace(bare, secrets=tmp_path / "secrets.yaml")
        done = tier.deploy("--limit", "redis-socket")
        assert "does not have a Release file" in output(done)
    finally:
        host.reset()
