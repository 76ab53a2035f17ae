"""An adoption that is cut off or fails: the role never starts empty, and the next deploy goes on or says how to."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.hosts.clients import client
from tests.hosts.conftest import Tier, output, overriding, wait_for
from tests.hosts.cut_off_writer import PREFIX
from tests.hosts.test_adopt import (
    INSTALL,
    WITHOUT_PACKAGED,
    Old,
    changed,
    connect,
    fill,
    lost,
    pid,
    set_up,
    start_writer,
)
from tests.lab.container import Container
from tests.lab.containers import ContainerLab, HostSpec
from tests.lab.debian import Suite

pytestmark = pytest.mark.hosts

PACKAGED = Old("gateway", INSTALL, "127.0.0.1", 6379, "/var/lib/redis", "dump.rdb", unit="redis-server.service")
LATER = f"{PREFIX}later"
MARKER = "/var/lib/caas-redis/gateway.adopting"
ADOPT = ("--data", "adopt=gateway")
# Stands before the real one in every script's PATH: a copy that takes its time to be checked.
SLOW_CHECK = """cat >/usr/sbin/redis-check-rdb <<'END'
#!/bin/sh
sleep 8
exec /usr/bin/redis-check-rdb "$@"
END
chmod 755 /usr/sbin/redis-check-rdb"""
CHECKING = "grep -qs /usr/sbin/[r]edis-check-rdb /proc/[0-9]*/cmdline"


@pytest.fixture
def tier(tmp_path: Path) -> Iterator[Tier]:
    """One host, of the role gateway."""
    with ContainerLab([HostSpec("redis-gateway", ("172.28.2.1",), "bookworm")]) as lab:
        yield Tier(lab, "inventory/prod.py", tmp_path / "secrets.yaml", ("--limit", "redis-gateway"))


def start_deploy(tier: Tier) -> "subprocess.Popen[str]":
    """A deploy that adopts, under way."""
    words = ["-y", *tier.options, "--data", f"redis_secrets_file={tier.secrets}", *ADOPT, tier.inventory, "deploy.py"]
    return subprocess.Popen(
        ["nsenter", f"--net=/run/netns/{tier.lab.netns}", Path(sys.executable).with_name("pyinfra"), *words],
        cwd=tier.repository,
        env=os.environ | {"HOME": str(tier.lab.home)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def kill_when(deploy: "subprocess.Popen[str]", host: Container, condition: str) -> None:
    """SIGKILL the controller as soon as `condition` holds on the host."""
    wait_for(lambda: host.call(condition).returncode == 0 or deploy.poll() is not None, condition, 90)
    assert deploy.poll() is None, deploy.communicate()[0]
    deploy.send_signal(signal.SIGKILL)
    deploy.wait()


def starts(host: Container) -> bool:
    """Whether the role can be started by hand."""
    return host.call("systemctl start redis-gateway.service").returncode == 0


def test_a_controller_killed_after_the_old_server_ended_leaves_nothing_lost(tier: Tier, tmp_path: Path) -> None:
    host = tier.host("gateway")
    before, held = set_up(host, PACKAGED), fill(host, PACKAGED)
    writer = start_writer(host, PACKAGED)
    host.sh(SLOW_CHECK)
    kill_when(start_deploy(tier), host, f"! [ -e /proc/{before}/exe ] && {CHECKING}")
    acknowledged = int(writer.communicate(timeout=60)[0].split()[0])
    assert acknowledged > 100
    assert host.sh(f"ls {MARKER}")
    assert not starts(host)
    host.sh("rm /usr/sbin/redis-check-rdb")
    host.stop()
    host.boot()
    assert host.sh("pidof redis-server", check=False) == ""
    report = tmp_path / "drift.json"
    drift = tier.run("tasks/drift.py", "--data", f"drift_report={report}")
    assert drift.returncode != 0
    differences = json.loads(report.read_text())["hosts"]["redis-gateway"]["differences"]
    (found,) = (item["observed"] for item in differences if item["remedy"] == "adopt")
    assert found.startswith("adoption of redis-server, pid")
    done = tier.deploy()
    assert "the old server's files are kept in /var/lib/redis, its last save is /var/lib/redis/dump.rdb" in output(done)
    assert lost(tier, "gateway", acknowledged) == []
    assert changed(tier, "gateway", held) == []
    assert host.sh(f"ls {MARKER}", check=False) == ""
    assert tier.deploy_json()["results"]["totals"]["success"] == 0


def test_an_old_server_killed_in_its_last_save_is_not_taken_for_complete(tier: Tier) -> None:
    host = tier.host("gateway")
    before, held = set_up(host, PACKAGED), fill(host, PACKAGED)
    with connect(host, PACKAGED) as old:
        old.config_set("rdb-key-save-delay", 3000)  # microseconds: each save takes three seconds
    kill_when(start_deploy(tier), host, f"[ -e /var/lib/redis/temp-{before}.rdb ]")
    host.sh(f"kill -9 {before}")
    for options in ((), ADOPT):
        done = tier.run("deploy.py", *options)
        assert done.returncode != 0
        words = (
            "began and did not end, and /var/lib/redis/dump.rdb is not its last save, expected all its data there: "
            "start it again (systemctl unmask redis-server.service; systemctl start redis-server.service) and deploy "
            "with --data adopt=gateway; only if its data is not wanted, remove /var/lib/caas-redis/gateway.adopting"
        )
        assert words in output(done)
    assert not starts(host)
    host.sh("systemctl --quiet unmask redis-server.service; systemctl start redis-server.service")
    with connect(host, PACKAGED) as old:
        assert old.set(LATER, "too")
    tier.deploy(*ADOPT)
    with tier.operator("gateway") as own:
        assert own.get(LATER) == "too"
    assert changed(tier, "gateway", held) == []


def test_a_server_that_cannot_save_goes_on_serving_as_before(tier: Tier) -> None:
    host = tier.host("gateway")
    before, held = set_up(host, PACKAGED), fill(host, PACKAGED)
    with connect(host, PACKAGED) as old:
        old.config_set("save", "")
    host.sh("chown root:redis /var/lib/redis; chmod 750 /var/lib/redis")
    done = tier.run("deploy.py", *ADOPT)
    assert done.returncode != 0
    assert "BGSAVE ended with err, expected ok: give it room and the right to write in /var/lib/redis" in output(done)
    with connect(host, PACKAGED) as old:
        assert old.set(LATER, "served")
        assert old.config_get("save") == {"save": ""}
    assert pid(host) == before
    refused = tier.run("deploy.py")
    assert refused.returncode != 0
    assert "adopt its data with --data adopt=gateway" in output(refused)
    host.sh("chown redis:redis /var/lib/redis")
    tier.deploy(*ADOPT)
    with tier.operator("gateway") as own:
        assert own.get(LATER) == "served"
    assert changed(tier, "gateway", held) == []


FOR_EVER = "while :; do redis-server --bind 172.28.2.1 --protected-mode no --save ''; sleep 0.2; done"
LOOP = Old(
    "gateway",
    WITHOUT_PACKAGED + "mkdir /srv/loop; cd /srv/loop; cat >/root/loop; "
    "setsid sh /root/loop >/dev/null 2>&1 </dev/null & echo $! >/root/loop.pid",
    "172.28.2.1",
    6379,
    "/srv/loop",
    "dump.rdb",
)


def test_a_server_that_something_starts_again_is_not_overtaken(tier: Tier) -> None:
    host = tier.host("gateway")
    set_up(host, LOOP, FOR_EVER)
    held = fill(host, LOOP)
    done = tier.run("deploy.py", *ADOPT)
    assert done.returncode != 0
    assert "ended and came back as redis-server, pid" in output(done)
    assert not starts(host)
    with client(f"/proc/{host.leader}/ns/net", "172.28.2.1", 6379) as old:
        assert old.set(LATER, "yes")
    host.sh("kill $(cat /root/loop.pid)")
    tier.deploy(*ADOPT)
    with tier.operator("gateway") as own:
        assert own.get(LATER) == "yes"
    assert changed(tier, "gateway", held) == []


@pytest.mark.parametrize("suite", ["bookworm", "trixie"])
def test_a_role_without_a_log_adopts_too_and_so_does_debian_13(suite: Suite, tmp_path: Path) -> None:
    with ContainerLab([HostSpec("redis-gateway", ("172.28.2.1",), suite)]) as lab:
        tier = Tier(lab, "inventory/prod.py", tmp_path / "secrets.yaml", ("--limit", "redis-gateway"))
        host = tier.host("gateway")
        set_up(host, PACKAGED)
        held = fill(host, PACKAGED)
        writer = start_writer(host, PACKAGED)
        snapshots = overriding({"gateway": {"appendonly": False, "save": "900 1"}}) if suite == "bookworm" else ()
        try:
            tier.deploy(*ADOPT, *snapshots)
            acknowledged = int(writer.communicate(timeout=60)[0].split()[0])
        finally:
            writer.kill()
        assert lost(tier, "gateway", acknowledged) == []
        assert changed(tier, "gateway", held) == []
        assert tier.deploy_json(*snapshots)["results"]["totals"]["success"] == 0
        host.sh("systemctl restart redis-gateway")
        assert lost(tier, "gateway", acknowledged) == []
        assert changed(tier, "gateway", held) == []


def test_a_packaged_server_on_another_port_is_not_masked_with_its_data(tier: Tier) -> None:
    host = tier.host("gateway")
    host.sh(INSTALL + "sed -i 's/^port 6379/port 7000/' /etc/redis/redis.conf; systemctl restart redis-server")
    elsewhere = replace(PACKAGED, port=7000)
    with connect(host, elsewhere) as old:
        old.set("kept", "yes")
    done = tier.run("deploy.py")
    assert done.returncode != 0
    assert "redis-server.service: runs as redis-server, pid" in output(done)
    assert "on 127.0.0.1:7000, [::1]:7000, with data: 1 key, directory /var/lib/redis" in output(done)
    with connect(host, elsewhere) as old:
        assert old.get("kept") == "yes"


def test_an_empty_packaged_server_is_masked_without_further_ado(tier: Tier) -> None:
    host = tier.host("gateway")
    host.sh(INSTALL)
    assert pid(host)
    tier.deploy()
    assert pid(host) == tier.pid("gateway")
    assert host.sh("systemctl is-enabled redis-server.service", check=False).strip() == "masked"
