"""What stops a run before anything is changed, or before any host is contacted, and with which words."""

import logging
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tasks.desired.host import Host
from tasks.observed.state import Observed, Unseen
from tasks.run.entry import make_printable
from tests.plan.harness import Result, Site, run
from tests.plan.hosts import PROD, production
from tests.tree import copy_of_tree
from tests.unit.builders import as_desired, desired, fresh, with_listener, with_server, with_setting


def lines(result: Result) -> list[str]:
    """The findings in a refusal, one line each."""
    return [line for line in result.plan if line.startswith(tuple(PROD))]


def state(change: Callable[[Observed], Observed]) -> Callable[[Host], Observed]:
    """A bare host but for `change`."""
    return lambda host: change(fresh(host))


def executed(result: Result) -> list[list[str]]:
    """What was executed on each host beside looking."""
    return [result.commands(host) for host in PROD]


UNFIT = {
    "gateway": Site([state(lambda seen: replace(seen, memory=512 << 20))]),
    "socket": Site([state(lambda seen: replace(seen, addresses=frozenset()))]),
    "shared": Site([state(lambda seen: with_listener(seen, "172.28.2.3", 6379, "haproxy", 812))]),
    "compliance": Site([fresh]),
    "crypto": Site([state(lambda seen: replace(seen, data_files={"/var/lib/redis/crypto/appendonly.aof": 9}))]),
}


@pytest.mark.parametrize("option", ["-y", "--dry"])
def test_unfit_hosts_stop_the_run_on_every_host_with_all_findings_at_once(secrets_file: Path, option: str) -> None:
    result = run(production(**UNFIT), option, secrets_file=secrets_file)
    assert result.exit_code != 0
    assert "Nothing was changed: not every host can carry its roles (4 problems):" in result.output
    assert [line.split(":")[0] for line in lines(result)] == [
        "redis-crypto",
        "redis-gateway",
        "redis-shared",
        "redis-socket",
    ]
    assert "is held by haproxy, pid 812" in result.output
    assert executed(result) == [[]] * 5
    assert "Traceback" not in result.output


def test_an_unfit_host_stops_the_run_before_a_password_is_saved(tmp_path: Path) -> None:
    result = run(production(**UNFIT), "-y", secrets_file=tmp_path / "prod.yaml")
    assert result.exit_code != 0
    assert list(tmp_path.iterdir()) == []


def test_an_unreachable_host_stops_the_deploy_of_the_others(secrets_file: Path) -> None:
    result = run(production(crypto=Site([fresh], reachable=False)), "-y", secrets_file=secrets_file)
    assert result.exit_code != 0
    assert "redis-crypto: not reachable over SSH: SSH error: timed out: mend it or --exclude it" in result.output
    assert executed(result) == [[]] * 5


def test_an_excluded_host_is_left_alone_and_does_not_stop_the_others(secrets_file: Path) -> None:
    sites = production(crypto=Site([fresh], reachable=False))
    result = run(sites, "-y", "--exclude", "redis-crypto", secrets_file=secrets_file)
    assert result.exit_code == 0, result.output
    assert [event for event in result.events if event.host == "redis-crypto"] == []


def test_a_limit_that_leaves_no_host_is_refused(secrets_file: Path) -> None:
    result = run(production(), "-y", "--limit", "typo", secrets_file=secrets_file)
    assert result.exit_code != 0
    assert result.events == []


def test_a_deploy_that_nobody_can_confirm_is_refused_before_any_connection(secrets_file: Path) -> None:
    result = run(production(), secrets_file=secrets_file)
    assert result.exit_code != 0
    assert "standard input is no terminal: add -y to apply or --dry to look" in result.output
    assert result.events == []


def test_a_user_who_is_not_root_is_told_what_to_set(secrets_file: Path) -> None:
    result = run(
        production(crypto=Site([state(lambda seen: replace(seen, uid=1000))])), "-y", secrets_file=secrets_file
    )
    assert lines(result) == [
        "redis-crypto: not root: uid is not 0: set ssh_user to root or _sudo = True in the inventory "
        "(docs/runbook.md#a-host-does-not-fit)"
    ]
    assert executed(result) == [[]] * 5


BAD_INVENTORY = """
redis_gateway = [("redis-gateway", {"redis_overrides": {
    "gateway": {"maxmemory": "256 mb", "maxmemory_policy": "lru", "port": 70000, "prot": 1},
    "gatway": {"maxmemory": "1gb"},
}})]
redis_socket = [("redis-socket", {"redis_overrides": {"socket": {"address": "172.28.2.3", "port": 6381}}})]
redis_shared = ["redis-shared"]
redis_cache = ["redis-crypto"]
redis_crypto = [("redis-crypto", {"redis_overrides": "64mb"})]
redis_compliance = [("redis-compliance", {"redis_version": 7.0, "drift_reprot": "drift.json", "allow_eviction": "maybe",
    "accept_loss": "gatway", "redis_overrides": {
    "crypto": {"maxmemory": "1gb"},
}})]
"""


@pytest.mark.parametrize("option", ["-y", "--dry"])
@pytest.mark.parametrize("command", ["deploy.py", "tasks/verify.py"])
def test_wrong_data_is_refused_before_any_connection_with_all_problems_at_once(
    tmp_path: Path, secrets_file: Path, option: str, command: str
) -> None:
    inventory = tmp_path / "bad.py"
    inventory.write_text(BAD_INVENTORY)
    secrets_file.chmod(0o644)
    result = run(production(), option, secrets_file=secrets_file, inventory=str(inventory), command=command)
    assert result.exit_code != 0
    assert result.events == []
    wanted = [
        "redis-gateway: redis_overrides: gateway: maxmemory: '256 mb' is not a Redis memory size",
        "redis-gateway: redis_overrides: gateway: maxmemory_policy: 'lru' was given",
        "redis-gateway: redis_overrides: gateway: port: 70000 was given",
        "redis-gateway: redis_overrides: gateway: prot: unknown key",
        "redis-gateway: redis_overrides: gatway: overrides name a role that roles.yaml does not have",
        "172.28.2.3:6381 is claimed by shared on redis-shared and socket on redis-socket",
        "redis-crypto: group redis_cache names no role of roles.yaml",
        "redis-crypto: redis_overrides: expected role → fields, observed '64mb'",
        "redis-compliance: redis_version: expected a Debian version in quotes, observed 7.0",
        "redis-compliance: allow_eviction: expected true or false, observed 'maybe'",
        "accept_loss=gatway: no such role",
        "drift_reprot: nothing reads host data or --data of this name (on redis-compliance), expected drift_report",
        "redis_overrides: crypto: no host that has them carries crypto (redis-compliance)",
        f"{secrets_file}: mode is 0644, expected 0600: run chmod 600",
    ]
    assert [text for text in wanted if text not in result.output] == []
    assert "Traceback" not in result.output


def test_an_inventory_without_a_role_is_refused(tmp_path: Path, secrets_file: Path) -> None:
    inventory = tmp_path / "empty.py"
    inventory.write_text('web = ["redis-crypto"]\n')
    result = run(production(), "-y", secrets_file=secrets_file, inventory=str(inventory))
    assert result.exit_code != 0
    assert "no host is in a group redis_<role>: put each role's host there" in result.output
    assert result.events == []


def test_a_malformed_secrets_file_is_refused_without_showing_it(secrets_file: Path) -> None:
    secrets_file.write_text("gateway: {operator: s3cr3t: x}\n")
    result = run(production(), "-y", secrets_file=secrets_file)
    assert result.exit_code != 0
    assert result.events == []
    assert "not readable as YAML: correct it" in result.output
    assert "s3cr3t" not in result.output


def test_a_kernel_value_that_is_no_number_is_refused_in_words(tmp_path: Path, secrets_file: Path) -> None:
    inventory = tmp_path / "bad.py"
    inventory.write_text('redis_crypto = [("redis-crypto", {"redis_sysctl": {"net.core.somaxconn": "many"}})]\n')
    result = run(production(), "-y", secrets_file=secrets_file, inventory=str(inventory))
    assert result.exit_code != 0
    assert "redis-crypto: redis_sysctl: " in result.output
    assert "Traceback" not in result.output


# What is not known


def not_seen(host: Host) -> Observed:
    """A right host of which one thing was not seen."""
    return replace(as_desired(host), unseen={"disk": Unseen("df ended with 1")})


@pytest.mark.parametrize("options", [("--dry",), ("--json",), ("--dry", "--json")], ids=" ".join)
def test_a_plan_with_something_unknown_ends_non_zero_and_shows_the_rest(
    secrets_file: Path, options: tuple[str, ...]
) -> None:
    other = Site([lambda host: with_setting(as_desired(host), "socket", "timeout", "9")])
    result = run(production(crypto=Site([not_seen]), socket=other), *options, secrets_file=secrets_file)
    assert result.exit_code != 0
    assert "redis-crypto: free disk space: unknown, because df ended with 1" in result.output
    assert "redis-socket: socket: live: timeout 9 → 0" in result.output
    assert "Change settings and users live" in result.names()
    assert executed(result) == [[]] * 5


@pytest.mark.parametrize("options", [("--dry",), ("--json",)], ids=" ".join)
def test_a_plan_with_differences_only_ends_with_zero(secrets_file: Path, options: tuple[str, ...]) -> None:
    other = Site([lambda host: with_setting(as_desired(host), "socket", "timeout", "9")])
    assert run(production(socket=other), *options, secrets_file=secrets_file).exit_code == 0


def test_a_dry_run_that_cannot_reach_a_host_ends_non_zero(secrets_file: Path) -> None:
    result = run(production(crypto=Site([fresh], reachable=False)), "--dry", secrets_file=secrets_file)
    assert result.exit_code != 0
    assert "redis-crypto: not reachable over SSH" in result.output


@pytest.mark.parametrize("options", [("--dry",), ("--json",)], ids=" ".join)
def test_a_plan_asks_no_server_for_a_password_that_nobody_knows(tmp_path: Path, options: tuple[str, ...]) -> None:
    deployed = {host: Site([lambda _, role=role: as_desired(desired(role))]) for host, role in PROD.items()}  # type: ignore[misc]
    result = run(deployed, *options, secrets_file=tmp_path / "prod.yaml")
    assert result.exit_code != 0
    assert f"crypto: {tmp_path}/prod.yaml has no password for crypto-service, operator, and the instance" in (
        result.output
    )
    assert [event.text for event in result.events if "AUTH" in event.text] == []


# Roles that have left a host


def test_a_role_whose_new_host_is_out_of_the_run_does_not_end(tmp_path: Path, secrets_file: Path) -> None:
    inventory = tmp_path / "swapped.py"
    inventory.write_text('redis_crypto = ["redis-gateway"]\nspare = ["redis-crypto"]\n')

    def left(host: Host) -> Observed:
        return replace(fresh(host), our_units=("redis-crypto.service",))

    sites = {"redis-crypto": Site([left]), "redis-gateway": Site([fresh])}
    limited = run(sites, "-y", "--limit", "redis-crypto", secrets_file=secrets_file, inventory=str(inventory))
    assert limited.exit_code != 0
    assert lines(limited) == [
        "redis-crypto: crypto: redis-crypto.service on redis-crypto is stopped: keys unknown (it does not run), "
        "/var/lib/redis/crypto (0.0 MiB), and redis-gateway, which the inventory gives the role to, is no part of this "
        "run, expected to be seen to serve it before it ends here: deploy to all of them at once, without --limit and "
        "--exclude, or with --limit redis-crypto --limit redis-gateway"
    ]
    assert limited.commands("redis-crypto") == []


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The tree, to be broken; an inventory whose only host is pyinfra's fake one."""
    directory = copy_of_tree(tmp_path / "tree")
    (directory / "inventory.py").write_text('redis_gateway = ["@fake/one"]\nredis_nowhere = ["@fake/one"]\n')
    return directory


def deploy(directory: Path) -> subprocess.CompletedProcess[str]:
    """`pyinfra -y inventory.py deploy.py` in a copy of the repository."""
    program = "from pyinfra_cli.main import main; main()"
    argv = [sys.executable, "-c", program, "-y", "inventory.py", "deploy.py"]
    return subprocess.run(argv, cwd=directory, capture_output=True, text=True, timeout=60, check=False)


def test_a_catalogue_with_errors_is_refused_before_any_connection_with_all_of_them(copy: Path) -> None:
    catalogue = copy / "group_data" / "roles.yaml"
    text = catalogue.read_text().replace("maxmemory: 512mb", "maxmemory: 512 mb").replace("port: 6383", "port: 0")
    catalogue.write_text(text)
    result = deploy(copy)
    assert result.returncode != 0
    assert "Connected" not in result.stderr
    assert "roles.yaml: socket: maxmemory: '512 mb' is not a Redis memory size" in result.stderr
    assert "roles.yaml: shared: maxmemory: '512 mb' is not a Redis memory size" in result.stderr
    assert "roles.yaml: crypto: port: 0 was given" in result.stderr
    assert "Traceback" not in result.stderr
    assert not (copy / "secrets").exists()


def test_problems_of_the_catalogue_and_of_the_inventory_are_reported_together(copy: Path) -> None:
    catalogue = copy / "group_data" / "roles.yaml"
    catalogue.write_text(catalogue.read_text().replace("port: 6383", "port: 0"))
    result = deploy(copy)
    assert "roles.yaml: crypto: port: 0 was given" in result.stderr
    assert "redis_nowhere names no role" in result.stderr


def too_full(host: Host) -> Observed:
    """crypto runs with twice the limit and uses more than the wanted one."""
    seen = with_setting(as_desired(host), "crypto", "maxmemory", str(512 << 20))
    return with_server(seen, "crypto", info={**seen.servers["crypto"].info, "used_memory": str(300 << 20)})


def test_a_limit_below_what_is_in_use_stops_the_run_until_the_operator_accepts_it(secrets_file: Path) -> None:
    refused = run(production(crypto=Site([too_full])), "-y", secrets_file=secrets_file)
    assert refused.exit_code != 0
    assert "crypto: uses 300 MiB, and maxmemory 256mb would refuse all writes" in refused.output
    assert [event for event in refused.events if "CONFIG SET" in event.text] == []
    sites = production(crypto=Site([too_full, as_desired]))
    accepted = run(sites, "-y", "--data", "allow_eviction=true", secrets_file=secrets_file)
    assert accepted.exit_code == 0, accepted.output
    assert [event.text for event in accepted.events if "CONFIG SET" in event.text] == [
        "crypto: CONFIG SET maxmemory 268435456"
    ]


@pytest.mark.parametrize("option", ["-y", "--dry"])
def test_drills_on_hosts_that_are_kept_are_refused_before_a_command_or_a_key(secrets_file: Path, option: str) -> None:
    result = run(production(), option, secrets_file=secrets_file, command="tasks/rehearse.py")
    assert result.exit_code != 0
    assert "redis_rehearsal is not True: choose an inventory of throw-away hosts" in result.output
    assert executed(result) == [[]] * 5
    assert [event for event in result.events if "SET " in event.text] == []


def test_drills_on_throw_away_hosts_that_are_not_right_are_refused(tmp_path: Path, secrets_file: Path) -> None:
    inventory = tmp_path / "staging.py"
    inventory.write_text('redis_crypto = [("redis-crypto", {"redis_rehearsal": True})]\n')
    result = run(
        {"redis-crypto": Site([fresh])},
        "-y",
        secrets_file=secrets_file,
        inventory=str(inventory),
        command="tasks/rehearse.py",
    )
    assert result.exit_code != 0
    assert "Nothing was drilled: run deploy.py first" in result.output
    assert result.commands("redis-crypto") == []


def test_a_right_tier_is_not_refused(secrets_file: Path) -> None:
    assert run({host: Site([as_desired]) for host in PROD}, "-y", secrets_file=secrets_file).exit_code == 0


def test_what_a_host_says_never_steers_the_terminal(secrets_file: Path) -> None:
    def odd(host: Host) -> Observed:
        return with_listener(as_desired(host), "172.28.2.5", 9, "redis-\x1b[2J\r", 77)

    for option in ("-y", "--dry"):
        result = run(production(crypto=Site([odd])), option, secrets_file=secrets_file)
        assert "redis-\\x1b[2J\\r, pid 77" in result.output
        assert "\x1b[2J" not in result.output


def test_what_a_command_prints_on_a_host_steers_no_terminal_either() -> None:
    record = logging.LogRecord(
        "pyinfra", logging.ERROR, "", 0, "\x1b[31m[%s]\x1b[0m \x1b[2Jgone\nnext", ("redis-1",), None
    )
    assert make_printable(record)
    assert record.getMessage() == "\x1b[31m[redis-1]\x1b[0m \\x1b[2Jgone\nnext"
