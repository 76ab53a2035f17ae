"""docs/runbook.md, what is planned and what does not start: on the production inventory, by the page's own commands."""

import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import redis

from tests.hosts.clients import client
from tests.hosts.conftest import TABLE, Finished, Tier, layout, output
from tests.hosts.runbook_steps import ROLE, committed, follow, run, sees, service
from tests.lab.containers import ContainerLab, HostSpec
from tests.runbook import entries
from tests.tree import copy_of_tree

pytestmark = pytest.mark.hosts

UNIT, DIRECTORY = f"redis-{ROLE}.service", f"/var/lib/redis/{ROLE}"
LOG = f"{DIRECTORY}/appendonlydir"
CATALOGUE, SETTINGS, INVENTORY = "group_data/roles.yaml", "group_data/all.py", "inventory/prod.py"
SIXTH = HostSpec("redis-search", ("172.28.2.6",), "bookworm")  # bare, in no inventory yet


@dataclass(frozen=True)
class First:
    """A tier after its first deploy: what the entry's commands printed, and the commit that was deployed."""

    tier: Tier
    done: list[Finished]
    commit: str
    places: dict[str, str | Path]


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Iterator[First]:
    """The production inventory's hosts, deployed as the runbook says; the role holds a key."""
    top = tmp_path_factory.mktemp("runbook")
    repository = copy_of_tree(top / "repository")
    (repository / ".gitignore").write_text("secrets/\n__pycache__/\n*.log\noffered.key\n")
    (repository / "secrets").mkdir(mode=0o700)
    subprocess.run(["git", "init", "-q", "-b", "main", str(repository)], check=True)
    (top / "backup").mkdir(mode=0o700)
    places: dict[str, str | Path] = {"/BACKUP": top / "backup", "DIR": top / "endpoints"}
    with ContainerLab([*layout("prod", "bookworm"), SIXTH]) as lab:
        tier = Tier(lab, INVENTORY, repository / "secrets" / "prod.yaml", repository=repository)
        commit = committed(tier, "As it is deployed first")
        found = First(tier, follow(tier, "first-deploy", ROLE, places=places), commit, places)
        with service(tier) as writer:
            writer.set("test:kept", ROLE)
        yield found


@pytest.fixture
def tier(first: First) -> Iterator[Tier]:
    """Whatever an entry says to do: no key is gone. The next test finds the catalogue and the hosts as they were."""
    tier = first.tier
    yield tier
    subprocess.run(["git", "-C", str(tier.repository), "reset", "-q", "--hard", first.commit], check=True)
    tier.deploy()
    with service(tier) as reader:
        assert reader.get("test:kept") == ROLE


def change(tier: Tier, file: str, pattern: str, new: str) -> None:
    """The one place of the file that the pattern finds says `new`."""
    path = tier.repository / file
    text, count = re.subn(pattern, lambda _: new, path.read_text(), count=1, flags=re.MULTILINE)
    assert count == 1, pattern
    path.write_text(text)


def write_into_role(tier: Tier, line: str) -> None:
    """In the block of the role, a line of the page stands in the place of the one of its name, and what is below it."""
    path = tier.repository / CATALOGUE
    before, start, block = path.read_text().partition(f"\n  {ROLE}:\n")
    name = line.strip().partition(":")[0]
    block, count = re.subn(rf"^    {name}:.*\n(    - .*\n)*", f"{line}\n", block, count=1, flags=re.MULTILINE)
    assert count == 1, name
    path.write_text(before + start + block)


# --- Work that is planned


def test_first_deploy(first: First) -> None:
    lacks, in_sync = entries()["first-deploy"].quotes
    tier, places = first.tier, first.places
    sees(first.done[0], lacks)
    sees(first.done[-1], in_sync)
    for role in TABLE:
        assert tier.answers(role)
    assert (Path(places["/BACKUP"]) / "prod.yaml").read_text() == tier.secrets.read_text()
    written = (Path(places["DIR"]) / "crypto-service.env").read_text()
    assert tier.passwords[ROLE]["crypto-service"] in written


def test_change_a_limit(tier: Tier) -> None:
    entry = entries()["change-a-limit"]
    live, in_sync, refused = entry.quotes
    (higher,) = entry.edits
    pid, wanted = tier.pid(ROLE), higher.split()[-1]
    write_into_role(tier, higher)
    with service(tier) as connected:
        connection = connected.client_id()
        dry, _, drift = follow(tier, "change-a-limit", ROLE)
        sees(dry, live)
        assert f"maxmemory 256mb → {wanted}" in output(dry)
        sees(drift, in_sync)
        assert (connected.client_id(), tier.pid(ROLE)) == (connection, pid)
        with tier.operator(ROLE) as operator:
            assert int(operator.config_get("maxmemory")["maxmemory"]) == 384 << 20
        connected.set("test:large", b"x" * (20 << 20))
        write_into_role(tier, "    maxmemory: 16mb")
        done = run(tier, "pyinfra inventory/prod.py deploy.py")
        assert done.returncode != 0
        sees(done, refused)
        connected.delete("test:large")


def test_a_service_added_or_removed(tier: Tier, first: First) -> None:
    entry = entries()["a-service-added-or-removed"]
    added, removed, file, line = entry.quotes
    with_it, without_it = entry.edits
    pid = tier.pid(ROLE)
    with service(tier) as other:
        connection = other.client_id()
        write_into_role(tier, with_it)
        sees(follow(tier, "a-service-added-or-removed", ROLE, places=first.places)[0], added)
        password = tier.passwords[ROLE]["audit-service"]
        assert password in (Path(first.places["DIR"]) / "audit-service.env").read_text()
        assert (Path(first.places["/BACKUP"]) / "prod.yaml").read_text() == tier.secrets.read_text()
        with tier.client(ROLE, "audit-service") as new:
            connected = new.connection_pool.get_connection()
            new.set("test:of-audit", "stays")
            write_into_role(tier, without_it)
            dry, *_, endpoints = follow(tier, "a-service-added-or-removed", ROLE, places=first.places)
            sees(dry, removed)
            sees(endpoints, file)
            sees(endpoints, line)
            with pytest.raises(redis.exceptions.ConnectionError):  # it was cut off
                connected.send_command("PING")
                connected.read_response()
        with pytest.raises(redis.exceptions.AuthenticationError):
            tier.client(ROLE, "audit-service").ping()
        assert (other.client_id(), tier.pid(ROLE)) == (connection, pid)
        assert other.get("test:of-audit") == "stays"
        assert tier.passwords[ROLE]["audit-service"] == password


def test_a_sixth_role(tier: Tier, first: First) -> None:
    entry = entries()["a-sixth-role"]
    bare, in_sync = entry.quotes
    (group,) = [text for text in entry.inline if text.startswith("redis_search = ")]
    pids = {role: tier.pid(role) for role in TABLE}
    for file, text in ((CATALOGUE, "\n".join(entry.edits)), (INVENTORY, group)):
        with (tier.repository / file).open("a") as end:
            end.write(f"{text}\n")
    dry, *_, drift = follow(tier, "a-sixth-role", ROLE, places=first.places)
    sees(dry, bare)
    sees(drift, in_sync)
    assert {role: tier.pid(role) for role in TABLE} == pids
    password = tier.passwords["search"]["search-service"]
    with client(tier.lab.netns, SIXTH.addresses[0], 6384, "search-service", password) as new:
        assert new.set("test:result", "found")
    assert password in (Path(first.places["DIR"]) / "search-service.env").read_text()


def test_upgrade_redis(tier: Tier) -> None:
    entry = entries()["upgrade-redis"]
    plan, restarted, in_sync = entry.quotes
    (setting,) = [text for text in entry.inline if text.startswith("redis_version = ")]
    offered = [line.split("|")[1].strip() for line in tier.host(ROLE).sh("apt-cache madison redis-server").splitlines()]
    newest, oldest = offered[0], offered[-1]
    tier.deploy("--data", f"redis_version={oldest}")
    before = tier.pid(ROLE)
    change(tier, SETTINGS, r"^redis_version = .*", re.sub(r'"[^"]+"', f'"{newest}"', setting))
    _, versions, dry, deploy, drift = follow(tier, "upgrade-redis", ROLE)
    assert newest in output(versions)
    sees(dry, plan)
    sees(deploy, restarted)
    sees(drift, in_sync)
    assert tier.pid(ROLE) != before
    for role in TABLE:
        assert newest in tier.host(role).sh("dpkg-query -W redis-server")


# --- Going back


# systemd finds nothing wrong with it, and a trial has none of the role's directories: it is seen at the start only.
ONLY_AT_A_START = (r"^BindPaths={{ data_directory }}$", "BindPaths={{ data_directory }} /var/lib/absent")

NOT_BUILT_IN = """'redis_overrides={"crypto": {"activedefrag": true}}'"""  # Debian's Redis refuses it


def go_back(tier: Tier, first: First) -> tuple[Finished, Finished, Finished]:
    """What the plan, the deploy and the drift check of the entry printed; the repository is as it was first."""
    status, log, *_, dry, deploy, drift = follow(tier, "roll-back", ROLE, places={"GOOD": first.commit})
    assert status.stdout == ""
    assert first.commit[:7] in output(log)
    differs = ["git", "-C", str(tier.repository), "diff", "--exit-code", first.commit]
    assert subprocess.run(differs).returncode == 0
    return dry, deploy, drift


def test_a_deploy_that_was_rolled_back(tier: Tier, first: First) -> None:
    rolled_back, not_restarted, tried, nothing, in_sync = entries()["roll-back"].quotes
    sees(run(tier, f"pyinfra inventory/prod.py deploy.py --data {NOT_BUILT_IN}"), tried)
    change(tier, "templates/redis.service.j2", *ONLY_AT_A_START)
    committed(tier, "What does not start")
    done = run(tier, "pyinfra inventory/prod.py deploy.py")
    assert done.returncode != 0
    sees(done, rolled_back)
    sees(done, not_restarted)
    for role in TABLE:
        assert tier.answers(role)
    dry, _, drift = go_back(tier, first)
    sees(dry, nothing)
    sees(drift, in_sync)


def test_an_older_commit(tier: Tier, first: First) -> None:
    *_, nothing, in_sync = entries()["roll-back"].quotes
    write_into_role(tier, "    maxmemory: 384mb")
    committed(tier, "More memory")
    (tier.repository / "group_data" / "others.py").write_text("")
    change(tier, CATALOGUE, r"^  databases: 16$", "  databases: 17")
    committed(tier, "More databases")
    tier.deploy()
    with service(tier) as writer:
        writer.set("test:since", "stays")
    before, passwords = tier.pid(ROLE), tier.passwords
    dry, _, drift = go_back(tier, first)
    with pytest.raises(AssertionError):
        sees(dry, nothing)
    assert "5 instances will restart" in output(dry)
    sees(drift, in_sync)
    assert tier.pid(ROLE) != before
    assert tier.passwords == passwords
    with service(tier) as reader:
        assert reader.get("test:since") == "stays"
    with tier.operator(ROLE) as operator:
        assert int(operator.config_get("maxmemory")["maxmemory"]) == 256 << 20


# --- What does not start


THIEF = "@held = IO::Socket::INET->new(LocalAddr => q(172.28.2.5:6383), Listen => 1, ReuseAddr => 1) or die; sleep 300"


@dataclass(frozen=True)
class Cause:
    """What keeps the role from its start: how it comes, the words that the page has for it, how a person ends it."""

    comes: str
    words: str
    ends: str | None  # nothing where the deploy itself does


CAUSES = {
    "its file": Cause(f"echo nonsense >>/etc/redis/{ROLE}.conf", "Bad directive or wrong number of arguments", None),
    "its port": Cause(
        f"systemd-run -q --collect --unit=thief perl -MIO::Socket::INET -e '{THIEF}'"
        "; for _ in {1..100}; do ss -Hltn | grep -q :6383 && break; sleep 0.1; done",
        "Address already in use",
        "systemctl stop thief",
    ),
    "its disk": Cause(f"mount -t tmpfs none {DIRECTORY}", "says that the role has run", f"umount {DIRECTORY}"),
    "its log is another's": Cause(f"chown -R root:root {LOG}", "Permission denied", None),
    "its log is damaged": Cause(
        f"cp -a {LOG} /root/kept; for file in {LOG}/*.incr.aof; do echo nonsense >>$file; done",
        "Bad file format reading the append only file",
        f"systemctl stop {UNIT}; rm -r {LOG}; mv /root/kept {LOG}",
    ),
}


@pytest.mark.parametrize("cause", CAUSES.values(), ids=list(CAUSES))
def test_an_instance_will_not_start(tier: Tier, cause: Cause) -> None:
    entry, host = entries()["an-instance-will-not-start"], tier.host(ROLE)
    (inactive,) = entry.quotes
    assert cause.words in entry.inline
    host.sh(f"systemctl stop {UNIT}; {cause.comes}")
    assert host.call(f"systemctl start {UNIT}").returncode != 0
    try:
        sees(run(tier, "pyinfra inventory/prod.py tasks/verify.py"), inactive)
        assert cause.words in host.sh(entry.commands[0])
        if cause.ends:
            assert run(tier, "pyinfra inventory/prod.py deploy.py").returncode != 0
    finally:
        host.sh(cause.ends or "true")
    follow(tier, "an-instance-will-not-start", ROLE)


# --- Who answers at the host's address


def other_host_key(tier: Tier) -> None:
    tier.host(ROLE).sh(
        "cd /etc/ssh; rm ssh_host_*; ssh-keygen -q -t ed25519 -N '' -f ssh_host_ed25519_key; systemctl restart ssh"
    )


def test_ssh_host_key_changed(tier: Tier) -> None:
    (changed,) = entries()["ssh-host-key-changed"].quotes
    before = tier.pid(ROLE)
    other_host_key(tier)
    for file in ("deploy.py", "tasks/verify.py", "tasks/drift.py"):
        done = run(tier, f"pyinfra inventory/prod.py {file}")
        assert done.returncode != 0
        sees(done, changed)
    _, offered, its_own, *_ = follow(tier, "ssh-host-key-changed", ROLE)
    assert fingerprint(offered) == fingerprint(its_own)
    assert tier.pid(ROLE) == before


def fingerprint(done: Finished) -> str:
    (found,) = re.findall(r"SHA256:\S+", done.stdout)
    return str(found)


@pytest.mark.parametrize("kept", ["in a snapshot", "on a disk of its own"])
def test_host_installed_anew(tier: Tier, kept: str) -> None:
    bare, empty, snapshot, loaded, in_sync = entries()["host-installed-anew"].quotes
    backup, dry_run = entries()["host-installed-anew"].commands[:2]
    host = tier.host(ROLE)
    with tier.operator(ROLE) as operator:
        operator.save()
    data = host.sh(f"systemctl stop {UNIT}; tar -C {DIRECTORY} -c . | base64")
    host.reset()
    follow(tier, "ssh-host-key-changed", ROLE, entries()["ssh-host-key-changed"].commands[:-1])
    before = run(tier, dry_run)
    assert before.returncode == 0
    sees(before, bare)
    sees(before, empty)
    if kept == "in a snapshot":
        host.sh("mkdir /BACKUP; base64 -d | tar -C /BACKUP -x ./dump.rdb", input=data)
        _, dry, deploy, drift = follow(tier, "host-installed-anew", ROLE)
        sees(dry, snapshot)
        sees(deploy, loaded)
    else:
        host.sh(f"mkdir -p {DIRECTORY}; base64 -d | tar -C {DIRECTORY} -x --numeric-owner", input=data)
        *_, drift = follow(tier, "host-installed-anew", ROLE, entries()["host-installed-anew"].commands[1:])
    sees(drift, in_sync)
    assert backup.startswith("install ")
