"""Every role has a user of its own: a captured one harms no other, and a tier from before comes over without a loss."""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tasks.steps.sandbox import as_role
from tests.hosts.conftest import ROLES, Tier, layout, output, wait_for
from tests.hosts.every_way import changes, kept, write
from tests.hosts.faults import KINDS, assert_nothing_left, every_fault, some_faults
from tests.hosts.test_replay import unpacked
from tests.hosts.test_safe_change import ONLY_AT_A_START, failed, other_template
from tests.hosts.writer import writing
from tests.lab.containers import ContainerLab
from tests.lab.debian import Suite
from tests.unit.builders import desired

pytestmark = pytest.mark.hosts

# The last commit whose instances all ran as `redis`.
BEFORE = "4067973ea724cb1a32a20afb2b1564949cb1120e"
SUITES: tuple[Suite, ...] = ("bookworm", "trixie")

# What a captured gateway tries, each ending in a line of what it was and whether it got through.
CAPTURED = """
tries() { what=$1; shift; if "$@" >/dev/null 2>&1; then echo "$what: yes"; else echo "$what: no"; fi; }
tries "lives" true
tries "reads the users of crypto" cat /etc/redis/crypto.acl
tries "reads the configuration of crypto" cat /etc/redis/crypto.conf
tries "sees the data of crypto" ls /var/lib/redis/crypto
tries "sees what crypto has in /run" ls /run/redis-crypto
tries "kills crypto" kill -0 {pid}
tries "puts something beside its directory" touch /var/lib/redis/x
for directory in /tmp /var/tmp /dev/shm /run/redis-gateway /var/lib/redis/gateway; do
  if cp /bin/true "$directory/captured" 2>/dev/null; then
    tries "runs what it wrote to $directory" "$directory/captured"
    rm -f "$directory/captured"
  fi
done
# What the kernel says of no memory (EFAULT) comes behind what the sandbox says (EPERM).
tries "reaches io_uring" perl -e 'syscall(425, 1, 0); exit($!{EPERM} ? 1 : 0)'
case $(ulimit -Hc) in 0) echo "leaves a core: no" ;; *) echo "leaves a core: yes" ;; esac
"""
HARMS = ("reads the users of crypto", "reads the configuration of crypto", "kills crypto")
# Lines of the unit without which it gets through with these, too.
FENCES = (
    "NoExecPaths=-+/tmp -+/var/tmp -+/dev/shm -+/run -+/run/redis-gateway",
    "NoExecPaths=+/var/lib/redis/gateway",
    "SystemCallFilter=~io_uring_setup io_uring_enter io_uring_register",
    "LimitCORE=0",
)
FENCED = (
    *("runs what it wrote to /tmp", "runs what it wrote to /var/lib/redis/gateway"),
    *("reaches io_uring", "leaves a core"),
)


@contextmanager
def from_before(tmp_path: Path, suite: Suite) -> Iterator[Tier]:
    """All roles on one host, deployed from the commit BEFORE; `.repository` is today's."""
    with ContainerLab(layout("onebox", suite)) as lab:
        tier = Tier(lab, "inventory/onebox.py", tmp_path / "secrets.yaml")
        old = unpacked(BEFORE, tmp_path / "before")
        Tier(lab, tier.inventory, tier.secrets, repository=old).deploy()
        yield tier


@pytest.fixture(scope="module", params=SUITES)
def tier(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tier]:
    """A tier from before; the first test that deploys brings it over."""
    with from_before(tmp_path_factory.mktemp("users"), request.param) as tier:
        yield tier


def captured(tier: Tier) -> dict[str, str]:
    """What a process of gateway's gets through, in gateway's sandbox and as its user."""
    return got_through(tier.host("gateway").sh(attack(tier.pid("crypto"))))


def attack(pid: int) -> str:
    """What a captured gateway runs on its host; `pid`: of crypto."""
    return as_role(desired("gateway").instances[0], CAPTURED.replace("{pid}", str(pid)), 30)


def got_through(said: str) -> dict[str, str]:
    """What it tried, and whether it got through."""
    return dict(line.rpartition(": ")[::2] for line in said.splitlines())


def owners(tier: Tier) -> set[str]:
    """Whose data and files of roles are, as ROLE's user or in plain words."""
    return {
        line.replace(role, "ROLE")
        for role in ROLES
        for line in tier.host(role)
        .sh(
            f"find /var/lib/redis/{role} -printf 'data %u:%g\\n'; stat -c 'file %U:%G %a' /etc/redis/{role}.conf "
            f"/etc/redis/{role}.acl; stat -c 'process %U' /proc/{tier.pid(role)}"
        )
        .splitlines()
    }


OWN = {"data redis-ROLE:redis-ROLE", "file root:redis-ROLE 640", "process redis-ROLE"}
ALL_ROLES = {"data redis:redis", "file root:redis 640", "process redis"}


def test_before_a_captured_role_could_harm_another(tier: Tier) -> None:
    """Else what follows proves nothing."""
    assert owners(tier) == ALL_ROLES
    script = attack(tier.pid("crypto"))
    for line in FENCES:
        assert f"\n{line}" in script
        script = script.replace(f"\n{line}", "")
    found = got_through(tier.host("gateway").sh(script))
    assert [name for name in (*HARMS, *FENCED) if found[name] != "yes"] == []


def test_what_does_not_come_up_as_its_own_user_runs_as_before(tier: Tier, tmp_path: Path) -> None:
    pids = {role: tier.pid(role) for role in ROLES}
    copy = other_template(tier, tmp_path, "redis.service.j2", *ONLY_AT_A_START)
    other = copy.__enter__()  # its end would deploy, which is for the next tests
    with kept(tier, *ROLES):
        said = failed(other.run("deploy.py"))
    assert said.count("rolled back, the previous configuration runs and serves") == 1
    assert owners(tier) == ALL_ROLES
    assert [role for role in ROLES if tier.pid(role) != pids[role]] == ["compliance"]
    with kept(tier, *ROLES):
        for role in ROLES:  # those whose files were only put back, too
            tier.host(role).sh(f"systemctl restart redis-{role}")
            wait_for(lambda role=role: tier.answers(role), f"{role} is back")  # type: ignore[misc]


def test_a_tier_from_before_comes_over_by_one_restart_each_broken_off_or_not(tier: Tier, tmp_path: Path) -> None:
    plan = output(tier.run("deploy.py", "--dry", yes=False))
    assert "each role: instance user: redis, the one of all roles → redis-ROLE, its own (restart)" in plan
    assert "5 instances will restart" in plan
    broken = ["Write the instances' files", "Restart instances one at a time"]
    with kept(tier, *ROLES), writing(tier, "crypto", "comes over to its own user, broken off") as writer:
        for fault in some_faults(tier, "kill during", "users of their own", operations=broken):
            assert writer.lost(tier) == [], fault
    assert writer.result.interruptions == 1
    assert owners(tier) == OWN
    assert_nothing_left(tier)
    report = tmp_path / "drift.json"
    done = tier.run("tasks/drift.py", "--data", f"drift_report={report}")
    assert done.returncode == 0, output(done)
    assert {host["status"] for host in json.loads(report.read_text())["hosts"].values()} == {"in_sync"}


def test_a_captured_role_harms_no_other(tier: Tier) -> None:
    found = captured(tier)
    assert found.pop("lives") == "yes"
    assert {*HARMS, *FENCED} <= found.keys()
    assert {name: got for name, got in found.items() if got != "no"} == {}


def test_a_server_has_of_the_host_s_files_its_program_its_data_and_the_directory_of_its_settings(tier: Tier) -> None:
    """Looked at in the server's own mounts, as root."""
    for role in ROLES:
        host, root = tier.host(role), f"/proc/{tier.pid(role)}/root"
        assert host.sh(f"ls -A {root}/etc").split() == ["ld.so.cache", "localtime", "redis"]
        assert host.sh(f"ls -A {root}/var {root}/var/lib {root}/var/lib/redis").split() == [
            *(f"{root}/var:", "lib", "tmp", f"{root}/var/lib:", "redis", f"{root}/var/lib/redis:", role)
        ]
        assert host.sh(
            f"ls -A {root}/root {root}/tmp {root}/srv {root}/home {root}/run/dbus 2>/dev/null; true"
        ).split() == [*(f"{root}/root:", f"{root}/tmp:")]
        mounts = [line.split()[4:6] for line in host.sh(f"cat {root}/proc/{tier.pid(role)}/mountinfo").splitlines()]
        # Of what is mounted twice in one place the last is seen; the kernel's own file systems hold no program.
        options = {place: set(words.split(",")) for place, words in mounts if not place.startswith(("/dev/", "/proc"))}
        writable = {place for place, words in options.items() if "rw" in words}
        assert {place for place in writable if "noexec" not in options[place]} <= {
            "/usr/bin/redis-check-rdb",
            "/usr/lib",
        }
        assert {"/tmp", "/var/tmp", f"/var/lib/redis/{role}", f"/run/redis-{role}"} <= writable
        assert "ro" in options["/etc/redis"]


def test_its_exposure_is_below_that_of_debian_s_own_unit(tier: Tier) -> None:
    """1.1 of redis-server.service, as its unit loaded and in use says; it is masked here."""
    said = tier.host("gateway").sh("systemd-analyze security --no-pager redis-gateway | tail -1")
    found = re.search("redis-gateway.service: ([0-9.]+) ", said)
    assert found is not None and float(found[1]) < 1.1, said


def test_a_user_that_somebody_deleted_is_made_again_with_the_number_that_its_files_have(tier: Tier) -> None:
    host = tier.host("socket")
    number, pid = host.sh("id -u redis-socket"), tier.pid("socket")
    host.sh("sed -i /^redis-socket:/d /etc/passwd /etc/shadow /etc/group /etc/gshadow")
    assert "its user and group redis-socket" in output(tier.run("deploy.py", "--dry", yes=False))
    tier.deploy()
    assert (host.sh("id -u redis-socket"), tier.pid("socket")) == (number, pid)
    assert owners(tier) == OWN


def test_data_that_comes_back_as_somebody_else_s_is_the_role_s_at_its_next_start(tier: Tier) -> None:
    """As from a backup, or after a boot without any deploy."""
    host = tier.host("shared")
    with kept(tier, "shared"):
        host.sh(
            "systemctl stop redis-shared; chown -R redis:redis /var/lib/redis/shared; chgrp root /etc/redis/shared.*; "
            "ln -s /etc/shadow /var/lib/redis/shared/x; systemctl start redis-shared"
        )
        assert host.sh("stat -c %U:%G /etc/shadow; rm /var/lib/redis/shared/x") == "root:shadow\n"
    assert owners(tier) == OWN


@pytest.mark.soak
@pytest.mark.parametrize("kind", KINDS)
def test_a_tier_from_before_comes_over_broken_at_every_operation(kind: str, tmp_path: Path) -> None:
    with from_before(tmp_path, "bookworm") as tier:
        held = {role: write(tier, role) for role in ROLES}
        with writing(tier, "crypto", f"comes over, {kind}") as writer:
            for fault in every_fault(tier, kind, "users of their own"):
                assert writer.lost(tier) == [], fault
        assert owners(tier) == OWN
        assert_nothing_left(tier)
        # What a killed gate or proof wrote expires by itself, some of it in an hour.
        lost = {
            role: [line for line in changes(tier, role, held[role]) if "caas-verify:" not in line] for role in ROLES
        }
        assert lost == {role: [] for role in ROLES}
