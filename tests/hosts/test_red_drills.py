"""Every drill has been seen red: the product is broken in one place, and the drill says so in an operator's words."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from tasks.drills.plan import BY_NAME
from tests.changed_tree import edit
from tests.hosts.conftest import FIVE, OF_MACHINE, ROLES, Finished, Machine, Tier, output, overriding
from tests.hosts.test_drills import OF_A_CONTAINER, THROWN_AWAY, rehearse
from tests.tree import copy_of_tree

pytestmark = pytest.mark.soak

PATIENCE = 20  # seconds in which a container's server is back; a machine without KVM boots in a minute
OF_A_BOOT = 300
UNIT, SETTINGS = "templates/redis.service.j2", "tasks/desired/build.py"
LAST_SETTING = "{**role.directives(), **placed}"


def setting(name: str, value: str) -> tuple[str, str, str]:
    """Every role is deployed with a setting that is not its catalogue's, and the tool thinks that right."""
    return (SETTINGS, LAST_SETTING, f'{{**role.directives(), **placed, "{name}": "{value}"}}')


@dataclass(frozen=True)
class Broken:
    """What is broken of the product, the edit of a tree or the overrides that do it, and what the drill says then.

    `roles`: those whose promise it breaks; the others' drill stays green.
    """

    what: str
    words: tuple[str, ...]
    edit: tuple[str, str, str] | None = None
    roles: tuple[str, ...] = FIVE
    overrides: Mapping[str, Any] = field(default_factory=dict)


RED = {
    "full": [
        Broken(
            "every role evicts, whatever its policy",
            ("keys without a TTL are gone", "no write was refused, expected refusals at the limit"),
            setting("maxmemory-policy", "allkeys-lru"),
            roles=("socket", "compliance", "crypto"),
        ),
    ],
    "crash": [
        Broken(
            "nobody starts a killed server again",
            ("takes no write again", "is failed (failed, started again 0 times)", "Main process exited"),
            (UNIT, "Restart=always", "Restart=no"),
        ),
        Broken(
            "after a crash the end of the log is thrown away",
            ("acknowledged writes are gone, expected none: written plainly",),
            (
                UNIT,
                "Restart=always",
                'Restart=always\nExecStopPost=-+/bin/sh -c \'[ "$SERVICE_RESULT" != signal ] || '
                'find {{ data_directory }} -name "*.incr.aof" -exec truncate -s 0 {} +\'',
            ),
        ),
    ],
    "log_truncated": [
        Broken(
            "a log whose end is cut stops the start",
            ("does not serve again", "Unexpected end of file"),
            overrides={"aof_load_truncated": False},
        ),
    ],
    "log_damaged": [
        Broken(
            "each start cuts a damaged log by itself",
            ("it started with a damaged log and serves, expected that it does not",),
            (
                UNIT,
                "ExecStart=/usr",
                "ExecStartPre=-+/bin/sh -c 'echo y | redis-check-aof --fix {{ manifest }}'\nExecStart=/usr",
            ),
        ),
    ],
    "log_foreign_owner": [
        Broken(
            "a deploy does not give data back",
            ("the deploy that ends the drill failed: Start instances", "Permission denied"),
            ("tasks/steps/instances.py", "by_role(seen, Remedy.OWN)", "by_role(seen, Remedy.KEEP)"),
        ),
    ],
    "busy_script": [
        Broken(
            "the operator may not end a script",
            ("SCRIPT KILL: NOPERM",),
            ("tasks/catalogue/acl_rules.py", '"script|kill function|kill', '"function|kill'),
        ),
    ],
    "maxclients": [
        Broken(
            "drift does not tell that a server turns everybody away",
            ("verify does not say that no connection is left, it says: nothing",),
            (
                "tasks/compare/unknown.py",
                "if listed or is_difference(instance, server.refusal):",
                "if listed or server.refusal.cause is Cause.MAXCLIENTS:",
            ),
        ),
    ],
    "slow_subscriber": [
        Broken(
            "what a subscriber has not read may grow for ever",
            ("a subscriber that read nothing got 64 MiB, expected that it is cut off",),
            overrides={"client_output_buffer_limit": {"pubsub": "0 0 0"}},
            roles=("socket", "shared"),
        ),
    ],
    "stampede": [
        Broken(
            "clients may hold no more memory than fifty of them do",
            ("clients were served and cut off, expected that all stay",),
            setting("maxmemory-clients", str(2 << 20)),
        ),
    ],
    "latency": [
        Broken(
            "a server cannot begin the process that rewrites its log",
            ("BGREWRITEAOF",),
            (UNIT, "Restart=always", "Restart=always\nLimitNPROC=4"),
        ),
    ],
    "tamper": [
        Broken(
            "drift does not look at the units' text",
            ("drift does not find its unit",),
            (
                "tasks/compare/host.py",
                "    if other and not unknown:",
                "    if other and not unknown and '.service' not in file.path:",
            ),
        ),
        Broken(
            "a deploy writes no file of an instance",
            ("the deploy that ends the drill failed: Prove the tier", "has 'Nice=5'"),
            ("tasks/steps/instances.py", "    if files:\n        keep =", "    if not files:\n        keep ="),
        ),
    ],
}
RED_ON_A_MACHINE = {
    "rewrite_memory_short": [
        Broken(
            "a server is ended with the process that rewrites its log",
            ("its server ended, expected that only the rewrite's child does",),
            (UNIT, "OOMPolicy=continue", "OOMPolicy=stop"),
            OF_MACHINE,
        ),
    ],
    "power": [
        Broken(
            "the kernel decides when the log is written",
            ("acknowledged writes are lost, the oldest",),
            setting("appendfsync", "no"),
            OF_MACHINE,
        ),
    ],
    "reboot": [
        Broken(
            "a start needs a directory of /run that nobody makes",
            ("does not serve again", "Failed to set up mount namespacing: No such file or directory"),
            (UNIT, "ExecStartPre=+/bin/mkdir -p -m 0755 {{ root }}\n", ""),
            OF_MACHINE,
        ),
    ],
    "reboot_late_address": [
        Broken(
            "a start that fails is the last one",
            ("does not serve again", "Main process exited"),
            (UNIT, "Restart=always", "Restart=no"),
            OF_MACHINE,
        ),
    ],
    "disk_full": [
        Broken(
            "nobody starts a server again that ended for want of room",
            ("crypto does not serve again", "No space left on device"),
            (UNIT, "Restart=always", "Restart=no"),
            OF_MACHINE,
        ),
    ],
}


def rows(table: Mapping[str, Sequence[Broken]]) -> list[Any]:
    """A case for each that is broken."""
    return [
        pytest.param(drill, broken, id=f"{drill}: {broken.what}") for drill, items in table.items() for broken in items
    ]


def tree_with(tmp_path: Path, patience: int, broken: Broken | None = None) -> Path:
    """A copy of the tests' tree, broken, in which a drill waits so many seconds for what does not come back."""
    copy = copy_of_tree(tmp_path / "repository")
    edit(copy, "tasks/observed/bounds.py", "BACK_PATIENCE = 300.0", f"BACK_PATIENCE = {patience}.0")
    if broken and broken.edit:
        edit(copy, *broken.edit)
    return copy


@pytest.fixture
def mended(onebox: Tier) -> Iterator[Tier]:
    """The tier as the unbroken product has it, and so again afterwards, with nothing of a drill left."""
    yield onebox
    host = onebox.host("gateway")
    units = " ".join(f"redis-{role}" for role in FIVE)
    # A server whose script nobody could end is not ended by a deploy, either.
    host.sh(f"systemctl kill --signal=KILL {units}; systemctl stop {units}; systemctl reset-failed {units}")
    host.sh("rm -rf /var/lib/caas-drill-*")
    onebox.run("deploy.py")  # fails where it starts a server that says that its log was cut
    onebox.deploy()
    for role in ROLES:
        with onebox.operator(role) as operator:
            for key in operator.scan_iter("caas-verify:drill*", count=10000):
                operator.unlink(key)
    host.sh(f"systemctl reset-failed {units}")


@pytest.mark.hosts
@pytest.mark.parametrize(("drill", "broken"), rows(RED))
def test_a_broken_product_turns_its_drill_red(mended: Tier, tmp_path: Path, drill: str, broken: Broken) -> None:
    options = overriding(dict.fromkeys(broken.roles, broken.overrides)) if broken.overrides else ()
    copy = tree_with(tmp_path, PATIENCE, broken)
    tier = Tier(mended.lab, mended.inventory, mended.secrets, options, copy)
    tier.deploy()
    done, report = rehearse(tier, tmp_path, drill)
    assert_red(done, report, drill, broken)


def assert_red(done: Finished, report: Mapping[str, Any], drill: str, broken: Broken) -> None:
    """The drill is red for just these roles, in these words, which are printed, too."""
    assert done.returncode != 0
    assert "Traceback" not in output(done)
    found = {item["role"]: item for item in report["drills"] if item["drill"] == drill}
    assert {role for role, item in found.items() if not item["passed"]} == set(broken.roles), json.dumps(found)
    said = "\n".join(line for role in broken.roles for line in found[role]["said"])
    print(f"{drill}: {broken.what}:\n{said}")
    for words in broken.words:
        assert words in said
        assert words in output(done)


@pytest.mark.hosts
def test_the_same_drills_are_green_where_nothing_is_broken(mended: Tier, tmp_path: Path) -> None:
    assert set(RED) == set(OF_A_CONTAINER)
    tier = Tier(mended.lab, mended.inventory, mended.secrets, repository=tree_with(tmp_path, PATIENCE))
    done, report = rehearse(tier, tmp_path, *RED)
    assert done.returncode == 0, output(done)
    assert {(item["drill"], item["role"]) for item in report["drills"]} == {
        (drill, role) for drill in RED for role in FIVE
    }


@pytest.fixture
def mended_machine(machine: Machine) -> Iterator[Machine]:
    """The machine as the unbroken product has it, and so again afterwards, with nothing of a drill left."""
    yield machine
    units = " ".join(f"redis-{role}" for role in OF_MACHINE)
    machine.vm.sh(f"systemctl stop {units}; systemctl reset-failed {units}; rm -f /var/lib/caas-drill-*")
    machine.must("deploy.py")
    for role in OF_MACHINE:
        with machine.operator(role) as operator:
            for key in operator.scan_iter("caas-verify:drill*", count=10000):
                operator.unlink(key)


@pytest.mark.vm
@pytest.mark.parametrize(("drill", "broken"), rows(RED_ON_A_MACHINE))
def test_a_broken_product_turns_its_drill_red_on_a_machine(
    mended_machine: Machine, tmp_path: Path, drill: str, broken: Broken
) -> None:
    """The same drills are green where nothing is broken: test_kernel.py."""
    other = replace(mended_machine, repository=tree_with(tmp_path, OF_A_BOOT, broken))
    other.must("deploy.py")
    report = tmp_path / "rehearsal.json"
    words = (*THROWN_AWAY, "--data", f"drills={drill}", "--data", f"rehearsal_report={report}")
    done = other.run("tasks/rehearse.py", *words)
    assert report.exists(), output(done)
    assert_red(done, json.loads(report.read_text()), drill, broken)


def test_no_drill_is_left_out() -> None:
    assert {*RED, *RED_ON_A_MACHINE} == BY_NAME.keys()
