"""What a role puts into its directory leads root nowhere: nothing outside changes, nothing of outside gets in."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tasks.steps.log import own_script
from tests.hosts.conftest import FIVE, Tier, output, overriding, wait_for
from tests.lab.container import Container
from tests.unit.builders import desired

pytestmark = pytest.mark.hosts

AS_ROLE = {role: f"setpriv --reuid=redis-{role} --regid=redis-{role} --init-groups" for role in FIVE}
SECRET = "what-only-root-may-read"
VICTIM = "/srv/victim"
# All that root once opened, changed or believed there, or a start of the role does.
NAMES = (
    *("adopting", "adopting.new", "dump.rdb", "dump.rdb.new", "appendonlydir.new", "appendonlydir.old"),
    *("appendonlydir/appendonly.aof.9.incr.aof", "appendonlydir/appendonly.aof.9.base.rdb"),
)
# $1: the name. What only root could make, as where hard links are not protected, root does make.
PLANTS = {
    "gateway": f'{AS_ROLE["gateway"]} ln -s {VICTIM}/file "$1"',
    "socket": f'{AS_ROLE["socket"]} ln -s {VICTIM}/directory "$1"',
    "shared": f'ln {VICTIM}/file "$1"',
    "compliance": f'{AS_ROLE["compliance"]} mkfifo "$1"',
    "crypto": f'{AS_ROLE["crypto"]} mkdir "$1"; {AS_ROLE["crypto"]} ln -s {VICTIM}/file "$1/x"',
}
FORGED = json.dumps(
    {
        "server": "redis-server, pid 1",
        "pid": 1,
        "unit": "ssh.service",
        "rdb": "/etc/shadow",
        "before": "1 1.0",
        "runs_as": "0:0:",
    }
)


def outside(host: Container) -> str:
    """Owner, mode, names and content of what is not a role's."""
    where = f"{VICTIM} /etc/shadow /etc/passwd /root"
    return host.sh(
        f"find {where} -printf '%p %y %u:%g %m %T@\\n' | sort; find {where} -type f -exec sha256sum {{}} + | sort"
        "; systemctl is-enabled ssh.service; ls -1 /var/lib/redis /etc/redis"
    )


def got_in(host: Container) -> str:
    """Files in data directories that hold what is not theirs; the second names of the victim do anyway."""
    return host.sh(f"find /var/lib/redis -type f ! -samefile {VICTIM}/file -exec grep -l {SECRET} {{}} + || true")


@pytest.fixture
def tier(onebox: Tier) -> Iterator[Tier]:
    """The tier, with something outside that a role would like to have; afterwards as deployed, and empty."""
    host = onebox.host("gateway")
    host.sh(f"install -d -m 0711 {VICTIM} {VICTIM}/directory; echo {SECRET} >{VICTIM}/file; chmod 0600 {VICTIM}/file")
    host.sh(f"echo {SECRET} >{VICTIM}/directory/file")
    yield onebox
    for role in FIVE:
        host.sh(f"cd /var/lib/redis/{role} && rm -rf {' '.join(NAMES)}")
    for role in FIVE:
        saves_again(onebox, role)
    onebox.deploy()
    host.sh(f"rm -r {VICTIM}")


def saves_again(tier: Tier, role: str) -> None:
    """A server that wanted to save while something lay in its way refuses writes until it could."""

    def well() -> bool:
        info = operator.info("persistence")
        if info["rdb_last_bgsave_status"] != "ok" and not info["rdb_bgsave_in_progress"]:
            operator.bgsave()
        return bool(info["rdb_last_bgsave_status"] == "ok" and not info["rdb_bgsave_in_progress"])

    with tier.operator(role) as operator:
        wait_for(well, f"{role} saves again")


def plant(host: Container, role: str, *names: str) -> None:
    """Something of the role's kind lies under each name."""
    for name in names:
        host.sh(f"cd /var/lib/redis/{role} && set -- {name} && rm -rf {name} && {{ {PLANTS[role]}; }}")


def drift(tier: Tier, tmp_path: Path) -> dict[str, list[str]]:
    """What drift says of each role's files and data."""
    report = tmp_path / "drift.json"
    assert tier.run("tasks/drift.py", "--data", f"drift_report={report}").returncode != 0
    found = json.loads(report.read_text())["hosts"]["redis-1"]["differences"]
    return {role: [item["observed"] for item in found if item["role"] == role] for role in FIVE}


# --- Beside servers that run


def test_what_lies_in_the_way_of_root_is_not_followed_and_is_said(tier: Tier, tmp_path: Path) -> None:
    host = tier.host("gateway")
    for role in FIVE:
        plant(host, role, *NAMES)
    before = outside(host)
    said = drift(tier, tmp_path)
    assert any(text.startswith("also 'adopting' (a link of redis-gateway), ") for text in said["gateway"])
    assert any(text.startswith("also 'adopting' (a link of redis-socket), ") for text in said["socket"])
    assert any(f"is root:root 0600 and has {len(NAMES) + 1} names" in text for text in said["shared"]), said["shared"]
    assert any("'adopting' (a pipe, socket or device of redis-compliance)" in text for text in said["compliance"])
    assert any("'adopting' (a directory of redis-crypto)" in text for text in said["crypto"])
    assert outside(host) == before
    # Settings that let root's hands into every directory: logs are checked, switched off, put aside, and switched on.
    for change in ({"databases": 17}, {"appendonly": False, "save": "900 1"}, {}):
        done = tier.run("deploy.py", *overriding(dict.fromkeys(("gateway", "socket", "compliance", "crypto"), change)))
        assert done.returncode != 0
        assert "Traceback" not in output(done)
        assert outside(host) == before
        assert got_in(host) == ""


def test_data_that_is_given_back_to_redis_is_no_other_s(tier: Tier) -> None:
    """Between the look and the change a role may put anything where its files were."""
    host = tier.host("gateway")
    for role in FIVE:
        plant(host, role, *NAMES)
    before = outside(host)
    for role in FIVE:
        done = host.call(own_script(desired(role).instances[0], f"redis-{role}"))
        assert (done.returncode == 0) == (role != "shared"), done.stdout
        words = f"has {len(NAMES) + 1} names, expected one: see which file of the host it is"
        assert (words in done.stdout) == (role == "shared")
    assert outside(host) == before


# --- In the place of a stopped server's data


def test_what_lies_in_the_place_of_a_stopped_role_s_data_is_not_followed(tier: Tier) -> None:
    host = tier.host("gateway")
    units = " ".join(f"redis-{role}" for role in FIVE)
    host.sh(f"systemctl stop {units}; mkdir /srv/kept; cp -a /var/lib/redis/. /srv/kept/")
    # A server that cannot save where a directory is in its way does not stop.
    stop = f"rm -rf /var/lib/redis/*/dump.rdb; systemctl stop {units}; rm -rf /var/lib/redis/*"
    try:
        for names in (("dump.rdb",), ("appendonlydir",), ("appendonlydir", "dump.rdb", "adopting")):
            host.sh(f"{stop}; cp -a /srv/kept/. /var/lib/redis/")
            for role in FIVE:
                if "appendonlydir" in names:
                    host.sh(f"rm -rf /var/lib/redis/{role}/appendonlydir")
                plant(host, role, *(name for name in names if (role, name) != ("shared", "appendonlydir")))
            before = outside(host)
            done = tier.run("deploy.py")
            assert done.returncode != 0
            assert "Traceback" not in output(done)
            assert outside(host) == before
            assert got_in(host) == ""
    finally:
        host.sh(f"{stop}; cp -a /srv/kept/. /var/lib/redis/; rm -r /srv/kept")
        host.sh(f"systemctl start {units}")
        wait_for(lambda: all(tier.answers(role) for role in FIVE), "all roles are back")


def test_no_role_can_put_anything_in_the_place_of_a_directory(tier: Tier) -> None:
    host = tier.host("gateway")
    for command in (
        "mv /var/lib/redis/gateway /var/lib/redis/x",
        "ln -s /etc /var/lib/redis/x",
        "mkdir /var/lib/redis/x",
        "ls /var/lib/caas-redis",
        "ls /run/caas-redis",
        "flock --nonblock /run/caas-redis/deploy.lock true",
    ):
        assert host.call(f"{AS_ROLE['gateway']} {command}").returncode != 0, command


# --- What is believed


@pytest.mark.parametrize("begun", [True, False])
def test_a_role_s_own_word_begins_no_adoption(tier: Tier, begun: bool) -> None:
    """It got /etc/shadow copied and ssh.service disabled."""
    host, directory = tier.host("gateway"), "/var/lib/redis/gateway"
    host.sh(f"systemctl stop redis-gateway; cp -a {directory} /srv/kept")
    if not begun:
        host.sh(f"rm -r {directory}/appendonlydir /var/lib/caas-redis/gateway")
    host.sh(f"{AS_ROLE['gateway']} sh -c 'cat >{directory}/adopting'", input=FORGED)
    before = outside(host)
    try:
        done = tier.run("deploy.py")
        assert done.returncode != 0
        assert ("are not believed, expected absent" in output(done)) == (not begun)
        assert ("also 'adopting' (a file of redis-gateway)" in output(done)) == begun
        assert outside(host) == before
        assert host.sh("grep -rl root: /var/lib/redis || true") == ""
        assert tier.answers("gateway") == begun
    finally:
        host.sh(f"systemctl stop redis-gateway; rm -r {directory}; mv /srv/kept {directory}")
        host.sh("systemctl start redis-gateway")
        wait_for(lambda: tier.answers("gateway"), "gateway is back")


def test_a_lock_that_everybody_can_read_holds_nobody_up(tier: Tier) -> None:
    """To read a file is enough to hold it; versions before had their lock where everybody could."""
    host = tier.host("gateway")
    host.sh("touch /run/redis-deploy.lock; systemd-run --quiet --unit=holder flock /run/redis-deploy.lock sleep 600")
    try:
        tier.deploy(*overriding({"gateway": {"timeout": 30}}))
    finally:
        host.sh("systemctl stop holder; rm /run/redis-deploy.lock")


def test_a_link_that_takes_a_file_s_place_at_the_last_moment_leads_nowhere(tier: Tier) -> None:
    """A role that is fast enough is past what looks at the name: here nothing looks at it."""
    host = tier.host("gateway")
    looks_at_the_name = '[ -f "$1" ] && [ ! -L "$1" ] || return 0'
    text = own_script(desired("gateway").instances[0], "redis-gateway")
    assert looks_at_the_name in text
    host.sh(f"cp {VICTIM}/file /dev/shm/victim; chmod 0600 /dev/shm/victim")
    for name in ("dump.rdb", "appendonlydir/appendonly.aof.9.incr.aof"):
        host.sh(f"cd /var/lib/redis/gateway && rm -f {name} && {AS_ROLE['gateway']} ln -s /dev/shm/victim {name}")
    try:
        done = host.call(text.replace(looks_at_the_name, ""))
        assert done.returncode != 0
        assert "leads to /dev/shm/victim, expected a file of its own" in done.stdout + done.stderr
        assert host.sh("stat -c '%U %a' /dev/shm/victim") == "root 600\n"
    finally:
        host.sh("rm -f /dev/shm/victim")


def test_owning_what_is_owned_changes_nothing_of_it(tier: Tier) -> None:
    """A changed ctime would make a snapshot look as if somebody had just put it there."""
    host = tier.host("crypto")
    with tier.operator("crypto") as operator:
        operator.save()
    times = "find /var/lib/redis/crypto -printf '%p %C@\\n'"
    before = host.sh(times)
    host.sh(own_script(desired("crypto").instances[0], "redis-crypto"))
    assert host.sh(times) == before
