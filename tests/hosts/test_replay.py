"""What clients wrote in transactions and scripts survives, also on a tier that was deployed before it could."""

import json
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import redis

from tests.hosts.clients import client
from tests.hosts.conftest import ROLES, TABLE, Tier, layout, output, overriding, wait_for
from tests.hosts.every_way import changes, write
from tests.lab.containers import REPOSITORY, ContainerLab

pytestmark = pytest.mark.hosts

# The last commit whose ACL files gave `default` no rights: a restart dropped what transactions and scripts had written.
BEFORE = "70271f93adac2cb79594df2633e982e73b49b8bf"
DEFAULT_LINE = "user default off ~* &* +@all"


def unpacked(commit: str, into: Path) -> Path:
    """The repository as it was at `commit`."""
    into.mkdir()
    archive = subprocess.run(["git", "archive", commit], cwd=REPOSITORY, stdout=subprocess.PIPE, check=True)
    subprocess.run(["tar", "-x"], cwd=into, input=archive.stdout, check=True)
    return into


@contextmanager
def deployed_before(tmp_path: Path, suite: str) -> Iterator[Tier]:
    """All roles on one host, deployed from the commit BEFORE; `.repository` is today's."""
    with ContainerLab(layout("onebox", suite)) as lab:  # type: ignore[arg-type]
        tier = Tier(lab, "inventory/onebox.py", tmp_path / "secrets.yaml")
        Tier(lab, tier.inventory, tier.secrets, repository=unpacked(BEFORE, tmp_path / "before")).deploy()
        yield tier


@pytest.mark.parametrize("suite", ["bookworm", pytest.param("trixie", marks=pytest.mark.soak)])
def test_a_tier_deployed_before_is_made_safe_by_one_deploy_that_loses_nothing(tmp_path: Path, suite: str) -> None:
    with deployed_before(tmp_path, suite) as tier:
        written = {role: write(tier, role) for role in ROLES}
        dry = output(tier.run("deploy.py", "--dry", "-v", yes=False))
        assert "gateway: acl default in /etc/redis/gateway.acl: may not replay the log" in dry
        done = tier.deploy(*overriding({role: {"databases": 17} for role in ROLES}))  # restarts every instance
        assert {role: changes(tier, role, written[role]) for role in ROLES} == {role: [] for role in ROLES}
        assert output(done).index("Let the next start replay") < output(done).index("Try the new configuration")
        for role in ROLES:
            tier.host(role).sh(f"systemctl kill --signal=KILL redis-{role}")
            wait_for(lambda role=role: tier.answers(role), f"{role} is back")  # type: ignore[misc]
        assert {role: changes(tier, role, written[role]) for role in ROLES} == {role: [] for role in ROLES}


def test_the_next_start_is_safe_also_when_everything_else_in_the_deploy_fails(tmp_path: Path) -> None:
    with deployed_before(tmp_path, "bookworm") as tier:
        with redis_in_a_transaction(tier, "crypto") as service:
            assert service.get("test:two") == "2"
        pid = tier.pid("crypto")
        done = tier.run("deploy.py", *overriding({"crypto": {"activedefrag": True}}))  # Redis refuses it in its trial
        assert done.returncode != 0
        assert tier.pid("crypto") == pid
        assert tier.host("crypto").sh("head -n 1 /etc/redis/crypto.acl").strip() == DEFAULT_LINE
        tier.host("crypto").sh("systemctl restart redis-crypto")
        wait_for(lambda: tier.answers("crypto"), "crypto is back")
        assert service_of(tier, "crypto").mget("test:one", "test:two") == ["1", "2"]


@contextmanager
def redis_in_a_transaction(tier: Tier, role: str) -> Iterator["redis.Redis"]:
    """A service that has just written two keys in one transaction."""
    with tier.client(role, TABLE[role]["services"][0]) as service:
        with service.pipeline() as transaction:
            transaction.set("test:one", 1).set("test:two", 2).execute()
        yield service


def service_of(tier: Tier, role: str) -> "redis.Redis":
    """A service: it reads also where nobody has the rights of `default`."""
    return tier.client(role, TABLE[role]["services"][0])


# --- Nobody gets in as `default`


def test_who_logged_in_while_default_was_open_is_out_before_default_gets_its_rights_back(onebox: Tier) -> None:
    host, row = onebox.host("crypto"), TABLE["crypto"]
    with onebox.operator("crypto") as operator, client(onebox.lab.netns, row["address"], row["port"]) as stranger:
        operator.config_set("protected-mode", "no")
        operator.acl_setuser("default", enabled=True, nopass=True, keys=["*"], commands=["+@all"])
        assert stranger.ping()
        operator.acl_setuser("default", enabled=False, reset=True)  # shut again by hand, the stranger stays logged in
        pid = onebox.pid("crypto")
        onebox.deploy()
        assert operator.execute_command("ACL", "GETUSER", "default")["commands"] == "+@all"
        with pytest.raises(redis.AuthenticationError):
            stranger.config_get("port")
    assert onebox.pid("crypto") == pid
    assert host.sh("head -n 1 /etc/redis/crypto.acl").strip() == DEFAULT_LINE


# --- A start that skipped writes


@pytest.fixture
def lossy(onebox: Tier) -> Iterator[Tier]:
    """A tier whose shared was started, by hand, with an ACL file that could not replay its log."""
    host = onebox.host("shared")
    with onebox.operator("shared") as operator:
        operator.bgrewriteaof()
        wait_for(lambda: not operator.info("persistence")["aof_rewrite_in_progress"], "its log is written anew")
    with redis_in_a_transaction(onebox, "shared"):
        pass
    host.sh("sed -i '1s/.*/user default off/' /etc/redis/shared.acl && systemctl restart redis-shared")
    wait_for(lambda: onebox.answers("shared"), "shared is back")
    assert service_of(onebox, "shared").mget("test:one", "test:two") == [None, None]
    yield onebox
    onebox.deploy("--data", "accept_loss=shared")
    service_of(onebox, "shared").delete("test:one", "test:two")


def skipped_in(tier: Tier, tmp_path: Path) -> str:
    """What drift says of shared's replay."""
    report = tmp_path / "drift.json"
    assert tier.run("tasks/drift.py", "--data", f"drift_report={report}").returncode != 0
    found = json.loads(report.read_text())["hosts"]["redis-1"]["differences"]
    said: str = next(item["observed"] for item in found if item["name"] == "replay")
    return said


def test_what_a_start_skipped_is_said_kept_from_a_rewrite_and_brought_back_by_a_restart(
    lossy: Tier, tmp_path: Path
) -> None:
    done = lossy.run("deploy.py")
    assert done.returncode != 0
    said = output(done)
    assert "shared: persistence replay: 2 commands were skipped when it started, and are still in its log" in said
    assert "AOF-loading-client" in said
    with lossy.operator("shared") as operator:
        assert operator.config_get("auto-aof-rewrite-percentage") == {"auto-aof-rewrite-percentage": "0"}
    assert "2 commands were skipped" in skipped_in(lossy, tmp_path)
    lossy.host("shared").sh("systemctl restart redis-shared")
    wait_for(lambda: lossy.answers("shared"), "shared is back")
    assert service_of(lossy, "shared").mget("test:one", "test:two") == ["1", "2"]
    lossy.deploy()
    assert lossy.run("tasks/drift.py").returncode == 0


def test_what_a_start_skipped_is_known_also_after_somebody_reset_the_counters(lossy: Tier, tmp_path: Path) -> None:
    with lossy.operator("shared") as operator:
        operator.config_resetstat()
        assert operator.info("stats")["unexpected_error_replies"] == 0
    assert "2 commands were skipped" in skipped_in(lossy, tmp_path)


def held(tier: Tier) -> int:
    """How often the keys that were skipped stand in shared's log."""
    directory = "/var/lib/redis/shared/appendonlydir"
    return int(tier.host("shared").sh(f"cat {directory}/*.aof | grep -ac 'test:one' || true"))


def test_a_log_with_skipped_writes_is_not_left_for_a_snapshot(lossy: Tier) -> None:
    before = held(lossy)
    done = lossy.run("deploy.py", *overriding({"shared": {"appendonly": False}}))
    assert done.returncode != 0
    assert "the running server's log has writes that its start skipped" in output(done)
    assert "appendonly yes" in lossy.host("shared").sh("cat /etc/redis/shared.conf")
    assert held(lossy) == before > 0


def test_a_log_with_skipped_writes_that_somebody_switched_off_is_not_switched_on_again(lossy: Tier) -> None:
    before = held(lossy)
    with lossy.operator("shared") as operator:
        operator.config_set("appendonly", "no")
    done = lossy.run("deploy.py")
    assert done.returncode != 0
    assert "its log is the only copy" in output(done)
    assert held(lossy) == before > 0


def test_a_deploy_does_not_restart_a_server_whose_start_skipped_writes(lossy: Tier) -> None:
    pid = lossy.pid("shared")
    done = lossy.run("deploy.py", *overriding({"shared": {"tcp_backlog": 512}}))
    assert done.returncode != 0
    assert "restart it by hand if that is wanted" in output(done)
    assert lossy.pid("shared") == pid
    assert service_of(lossy, "shared").mget("test:one", "test:two") == [None, None]


def test_a_loss_that_is_accepted_ends_with_a_new_log(lossy: Tier) -> None:
    lossy.deploy("--data", "accept_loss=shared")
    assert lossy.run("tasks/drift.py").returncode == 0
    with lossy.operator("shared") as operator:
        assert operator.config_get("auto-aof-rewrite-percentage") == {"auto-aof-rewrite-percentage": "100"}
        assert service_of(lossy, "shared").mget("test:one", "test:two") == [None, None]


def test_skipped_writes_come_back_in_a_throw_away_server_as_the_readme_says(lossy: Tier) -> None:
    host = lossy.host("shared")
    text = (REPOSITORY / "README.md").read_text()
    recipe = text.partition("## Writes that a start skipped")[2].partition("\n## ")[0]
    commands = [line.strip() for line in recipe.splitlines() if line.startswith("    ")]
    script = "\n".join(command.replace("ROLE", "shared") for command in commands)
    assert "redis-cli" in script
    found = host.sh(
        f"{script}\n" + 'redis-cli -s "$look/socket" MGET test:one test:two; redis-cli -s "$look/socket" SHUTDOWN'
    )
    assert found.split()[-2:] == ["1", "2"]
    host.sh("rm -rf /var/lib/look-*")


# --- The gate


def test_a_restart_that_skips_writes_fails_its_gate_with_the_line_and_is_not_rolled_back(onebox: Tier) -> None:
    """The server is made to skip: a command that its version does not know lies in the log."""
    # After a rewrite Redis writes where it left off, over what others append; from a start on it appends, too.
    onebox.host("shared").sh("systemctl restart redis-shared")
    wait_for(lambda: onebox.answers("shared"), "shared is back")
    with redis_in_a_transaction(onebox, "shared"):
        pass
    directory = "/var/lib/redis/shared/appendonlydir"
    before, socket = time.time(), onebox.pid("socket")
    # A transaction into a database that the server does not have: refused when it is replayed.
    lines = r"*1\r\n$5\r\nMULTI\r\n*2\r\n$6\r\nSELECT\r\n$2\r\n99\r\n*1\r\n$4\r\nEXEC\r\n"
    onebox.host("shared").sh(f"printf '{lines}' >>$(ls {directory}/*.incr.aof | tail -n 1)")
    done = onebox.run("deploy.py", *overriding({"shared": {"databases": 17}, "socket": {"databases": 17}}))
    assert done.returncode != 0
    assert "shared: has not loaded all of its data, it said: " in output(done)
    assert "DB index is out of range" in output(done)
    assert onebox.pid("socket") == socket
    assert time.time() - before < 120
    with onebox.operator("shared") as operator:
        assert operator.config_get("databases") == {"databases": "17"}  # not rolled back
        assert service_of(onebox, "shared").mget("test:one", "test:two") == ["1", "2"]
        operator.bgrewriteaof()
    onebox.deploy("--data", "accept_loss=shared")
