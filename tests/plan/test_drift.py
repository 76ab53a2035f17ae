"""One thing drifted: the deploy does that one thing, and nothing to any other host."""

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tasks.desired.host import Host
from tasks.observed.state import Observed
from tests.plan.harness import Result, Site, run
from tests.plan.hosts import PROD, data_directory, drifted, forget, install_command, production, takes
from tests.unit.builders import (
    as_desired,
    stopped,
    with_file,
    with_listener,
    with_setting,
    with_unit,
    with_user,
    without_file,
)

Break = Callable[[Observed], Observed]
UNIT = "redis-crypto.service"
UNIT_FILE = f"/etc/systemd/system/{UNIT}"
START = f"timeout 900 systemctl start {UNIT} && systemctl reset-failed {UNIT}"
RELOAD = "systemctl daemon-reload"


def state(change: Break) -> Callable[[Host], Observed]:
    """The state that is right but for `change`."""
    return lambda host: change(as_desired(host))


def sent(result: Result, host: str) -> list[str]:
    """What a host's servers were told to change."""
    told = ("CONFIG SET", "ACL SETUSER", "ACL DELUSER", "BGREWRITEAOF", "SAVE", "SHUTDOWN")
    texts = [event.text.partition(": ")[2] for event in result.events if (event.host, event.kind) == (host, "exchange")]
    return [text for text in texts if text.startswith(told)]


CASES: dict[str, tuple[Break, list[str], list[str]]] = {
    "a redis.conf": (
        lambda seen: with_file(seen, "/etc/redis/crypto.conf", content="hz 1\n"),
        ["Write the instances' files"],
        ["write /etc/redis/crypto.conf root:redis-crypto 0640"],
    ),
    "the mode of an ACL file": (
        lambda seen: with_file(seen, "/etc/redis/crypto.acl", mode="0644"),
        ["Write the instances' files"],
        ["write /etc/redis/crypto.acl root:redis-crypto 0640"],
    ),
    "a data directory that is root's": (
        lambda seen: with_file(seen, "/var/lib/redis/crypto", owner="root"),
        ["Write the instances' files"],
        [data_directory("crypto")],
    ),
    "no record that the role has run": (
        lambda seen: without_file(seen, "/var/lib/caas-redis/crypto"),
        ["Record what has run here"],
        ["write /var/lib/caas-redis/crypto root:root 0644"],
    ),
    "an edited unit file": (
        lambda seen: with_file(seen, UNIT_FILE, content="[Service]\n"),
        ["Write the instances' files"],
        [f"write {UNIT_FILE} root:root 0644", RELOAD],
    ),
    "a unit that systemd has not read again": (
        lambda seen: with_unit(seen, UNIT, NeedDaemonReload="yes"),
        ["Load and enable the units"],
        [RELOAD],
    ),
    "a disabled unit": (
        lambda seen: with_unit(seen, UNIT, UnitFileState="disabled"),
        ["Load and enable the units"],
        [f"systemctl unmask --quiet {UNIT}", f"systemctl enable --quiet {UNIT}"],
    ),
    "a masked unit": (
        lambda seen: with_unit(seen, UNIT, LoadState="masked", UnitFileState="masked"),
        ["Load and enable the units"],
        [f"systemctl unmask --quiet {UNIT}", f"systemctl enable --quiet {UNIT}"],
    ),
    "a stopped instance": (lambda seen: stopped(seen, "crypto"), ["Start instances"], [START, forget("crypto")]),
    "a flushed inner port": (
        lambda seen: replace(seen, forwards=frozenset()),
        ["Lead the inner ports"],
        ["systemctl reload-or-restart redis-inner-port.service"],
    ),
    "an edited rules file": (
        lambda seen: with_file(seen, "/etc/redis/inner-port.nft", content=""),
        ["Write the instances' files", "Lead the inner ports"],
        ["write /etc/redis/inner-port.nft root:root 0644", "systemctl reload-or-restart redis-inner-port.service"],
    ),
    "the packaged service": (
        lambda seen: with_unit(seen, "redis-server.service", LoadState="loaded", UnitFileState="enabled"),
        ["Mask the packaged Redis service"],
        ["systemctl mask --now redis-server.service"],
    ),
    "a kernel value": (
        lambda seen: replace(seen, sysctls={**seen.sysctls, "vm.overcommit_memory": "0"}),
        ["Apply the kernel's settings"],
        [
            "sysctl --quiet --load=/etc/sysctl.d/60-redis.conf",
            "systemd-tmpfiles --create /etc/tmpfiles.d/60-redis-thp.conf",
        ],
    ),
    "a rule for unattended upgrades": (
        lambda seen: without_file(seen, "/etc/apt/apt.conf.d/60-redis"),
        ["Write the package rules"],
        ["write /etc/apt/apt.conf.d/60-redis root:root 0644"],
    ),
}


TEXT = re.compile(r"write /etc/(redis|systemd)/")  # an instance's file is tried before it is written
# What `df` and `test` print where a restart may be made.
BEFORE = "1000000\nmanifest\nlooked"


def all_of(operations: list[str], with_trial: bool = False) -> list[str]:
    """The operations of a deploy that makes these changes."""
    tried = ["Try the new configuration"] if with_trial else []
    return ["Hold the host", *tried, *operations, "Prove the tier"]


@pytest.mark.parametrize("case", CASES)
def test_only_what_drifted_is_changed(secrets_file: Path, case: str) -> None:
    change, operations, commands = CASES[case]
    result = run(drifted("crypto", state(change), *commands), "-y", secrets_file=secrets_file)
    assert result.exit_code == 0, result.output
    assert result.names() == all_of(operations, any(map(TEXT.match, commands)))
    assert result.commands("redis-crypto") == commands
    assert [result.commands(host) for host in PROD if host != "redis-crypto"] == [[]] * 4
    assert [sent(result, host) for host in PROD] == [[]] * 5


IS_UP, RESTART = f"systemctl is-active --quiet {UNIT}", f"end to restart {UNIT}"


def failing(seen: Observed) -> Observed:
    return with_unit(stopped(seen, "crypto"), UNIT, ActiveState="activating", NRestarts="3")


@pytest.mark.parametrize("came_up", [False, True])
def test_what_systemd_tries_again_and_again_never_runs_with_half_of_its_new_files(
    secrets_file: Path, came_up: bool
) -> None:
    site = Site(
        [state(failing), as_desired],
        {**takes(f"keep-down {UNIT} no", START, IS_UP, forget("crypto")), RESTART: "", "before a restart": BEFORE},
        fails=None if came_up else IS_UP,
    )
    result = run(production(crypto=site), "-y", secrets_file=secrets_file)
    assert result.exit_code == 0, result.output
    assert result.names() == all_of(["Keep failing units down", "Start instances"])
    keep, is_up, *then = result.commands("redis-crypto")
    assert (keep, is_up) == (f"keep-down {UNIT} no", IS_UP)
    assert any(RESTART in text for text in then) == came_up
    assert (START in then) == (not came_up)


def test_a_try_of_its_own_that_has_ended_since_is_not_taken_for_somebody_else_on_its_port(secrets_file: Path) -> None:
    def passing(seen: Observed) -> Observed:
        return with_listener(failing(seen), "172.28.2.5", 6383)

    commands = takes(f"keep-down {UNIT} no", START, forget("crypto"))
    site = Site([state(passing), state(failing), as_desired], commands, fails=IS_UP)
    result = run(production(crypto=site), "-y", secrets_file=secrets_file)
    assert result.exit_code == 0, result.output
    assert START in result.commands("redis-crypto")
    stays = run(production(crypto=Site([state(passing)])), "-y", secrets_file=secrets_file)
    assert "crypto: port 172.28.2.5:6383 is held by nginx, pid 4711" in stays.output
    assert stays.commands("redis-crypto") == []


def test_what_is_to_be_done_to_its_data_waits_for_what_came_up_meanwhile(secrets_file: Path) -> None:
    snapshot = {"/var/lib/redis/crypto/dump.rdb": 5}
    found = state(
        lambda seen: replace(without_file(failing(seen), "/var/lib/caas-redis/crypto"), data_files=snapshot, stored={})
    )
    site = Site([found, as_desired], fails=f"keep-down {UNIT} yes")
    result = run(production(crypto=site), "-y", secrets_file=secrets_file)
    assert result.exit_code != 0
    assert result.commands("redis-crypto") == [f"keep-down {UNIT} yes"]


@pytest.mark.parametrize("case", CASES)
def test_the_dry_run_names_what_drifted_and_touches_nothing(secrets_file: Path, case: str) -> None:
    change, operations, commands = CASES[case]
    result = run(production(crypto=Site([state(change)])), "--dry", secrets_file=secrets_file)
    assert result.exit_code == 0, result.output
    assert result.names() == all_of(operations, any(map(TEXT.match, commands)))
    assert [line for line in result.plan if line.startswith("redis-crypto: ")]
    assert [result.commands(host) for host in PROD] == [[]] * 5
    assert [sent(result, host) for host in PROD] == [[]] * 5


def test_only_the_mode_to_keep_over_upgrades_drifted(secrets_file: Path) -> None:
    command = "dpkg-statoverride --force-statoverride-add --update --add root root 711 /etc/redis"
    other = command.replace("--update ", "").replace("/etc/redis", "/var/lib/redis")
    sites = drifted("crypto", state(lambda seen: replace(seen, statoverrides={})), command, other)
    result = run(sites, "-y", secrets_file=secrets_file, unscripted_is_fine=True)
    assert result.names() == all_of(["Keep the modes of Redis' directories over upgrades"])


def test_a_pinned_version_is_installed_exactly(secrets_file: Path) -> None:
    wanted = "5:7.0.15-1~deb12u10"

    def old(host: Host) -> Observed:
        seen = as_desired(host)
        return replace(seen, packages={**seen.packages, "redis-server": "5:7.0.15-1~deb12u7"})

    command = install_command(f"'redis-server={wanted}'")
    reads = {r"! \(test -e /var/lib/apt.*": "", r"if command -v dpkg .*": ""}
    script = {**takes("apt-get update", "touch /var/lib/apt/periodic/update-success-stamp", command), **reads}
    sites = production(crypto=Site([old, as_desired], script))
    result = run(sites, "-y", "--data", f"redis_version={wanted}", secrets_file=secrets_file)
    assert result.exit_code == 0, result.output
    assert result.names() == all_of(["Wait for apt", "Refresh the lists of packages", "Install Redis"])
    assert command in result.commands("redis-crypto")


def test_a_setting_changed_in_a_server_is_set_live_and_restarts_nothing(secrets_file: Path) -> None:
    sites = drifted("crypto", state(lambda seen: with_setting(seen, "crypto", "maxmemory-policy", "allkeys-lru")))
    result = run(sites, "-y", secrets_file=secrets_file)
    assert result.exit_code == 0, result.output
    assert result.names() == all_of(["Change settings and users live"])
    assert sent(result, "redis-crypto") == ["CONFIG SET maxmemory-policy noeviction"]
    assert result.commands("redis-crypto") == []
    assert "1 difference on 1 host, 0 instances will restart" in result.plan


def test_a_setting_changed_in_file_and_server_is_set_live_before_the_file_is_written(secrets_file: Path) -> None:
    def changed(seen: Observed) -> Observed:
        content = seen.files["/etc/redis/crypto.conf"].content.replace("timeout 0", "timeout 9")
        return with_setting(with_file(seen, "/etc/redis/crypto.conf", content=content), "crypto", "timeout", "9")

    write = "write /etc/redis/crypto.conf root:redis-crypto 0640"
    result = run(drifted("crypto", state(changed), write), "-y", secrets_file=secrets_file)
    assert result.exit_code == 0, result.output
    assert result.names() == all_of(["Change settings and users live", "Write the instances' files"], True)
    assert sent(result, "redis-crypto") == ["CONFIG SET timeout 0"]


def test_a_stranger_among_the_users_is_deleted_live(secrets_file: Path) -> None:
    sites = drifted("crypto", state(lambda seen: with_user(seen, "crypto", "intruder", flags=["on"])))
    result = run(sites, "-y", secrets_file=secrets_file)
    assert result.exit_code == 0, result.output
    assert sent(result, "redis-crypto") == ["ACL DELUSER intruder"]


def test_an_instance_on_an_old_binary_is_restarted_behind_its_gate(secrets_file: Path) -> None:
    def upgraded(seen: Observed) -> Observed:
        return replace(seen, binaries={seen.pid(UNIT): "/usr/bin/redis-check-rdb (deleted)"})

    commands = [
        "before a restart",
        f"end to restart {UNIT}",
        forget("crypto"),
    ]
    script = {**takes(*commands[1:]), "before a restart": BEFORE}
    sites = production(crypto=Site([state(upgraded), as_desired], script))
    result = run(sites, "-y", secrets_file=secrets_file)
    assert result.exit_code == 0, result.output
    assert result.names() == ["Hold the host", "Restart instances one at a time", "Prove the tier"]
    assert result.commands("redis-crypto") == commands
    assert "1 difference on 1 host, 1 instance will restart: crypto on redis-crypto" in result.plan


def test_an_instance_without_its_manifest_is_never_restarted(secrets_file: Path) -> None:
    def upgraded(seen: Observed) -> Observed:
        return replace(seen, binaries={seen.pid(UNIT): "/usr/bin/redis-check-rdb (deleted)"})

    script = {"before a restart": BEFORE.replace("manifest\n", ""), "put-back .*": ""}
    sites = production(crypto=Site([state(upgraded)], script))
    result = run(sites, "-y", secrets_file=secrets_file)
    assert result.exit_code != 0
    assert "appendonly.aof.manifest is missing, a restart would begin empty" in result.output
    assert [item for item in result.commands("redis-crypto") if "systemctl" in item] == []


@pytest.mark.parametrize("said", ["", "full\nlooked\n", "df: Stale file handle\nmanifest\nlooked\n"])
def test_an_instance_whose_host_does_not_tell_of_its_disk_is_never_restarted(secrets_file: Path, said: str) -> None:
    def upgraded(seen: Observed) -> Observed:
        return replace(seen, binaries={seen.pid(UNIT): "/usr/bin/redis-check-rdb (deleted)"})

    sites = production(crypto=Site([state(upgraded)], {"before a restart": said, "put-back .*": ""}))
    result = run(sites, "-y", secrets_file=secrets_file)
    assert result.exit_code != 0
    assert "not restarted: its host cannot be looked at" in result.output
    assert "Traceback" not in result.output
    assert [item for item in result.commands("redis-crypto") if "systemctl" in item] == []


def test_after_the_first_gate_that_fails_no_other_instance_is_restarted(secrets_file: Path) -> None:
    def upgraded(host: Host) -> Observed:
        seen = as_desired(host)
        return replace(seen, binaries=dict.fromkeys(seen.binaries, "/usr/bin/redis-server (deleted)"))

    script = {"before a restart": BEFORE, r"journalctl .*": "the journal", "put-back .*": ""}
    sites = {host: Site([upgraded], script, fails="end to restart|systemctl is-active") for host in PROD}
    result = run(sites, "-y", secrets_file=secrets_file)
    assert result.exit_code != 0
    restarts = [item for host in PROD for item in result.commands(host) if "end to restart" in item]
    assert restarts == ["end to restart redis-compliance.service"]
    assert result.output.count("failed its gate") == 4


@pytest.mark.parametrize("ends", [True, False])
def test_data_goes_back_to_the_user_of_before_only_when_the_new_server_has_ended(
    secrets_file: Path, ends: bool
) -> None:
    """A server that runs on would lose the right to write where it writes."""

    def upgraded(seen: Observed) -> Observed:
        return replace(seen, binaries={seen.pid(UNIT): "/usr/bin/redis-check-rdb (deleted)"})

    script = {"before a restart": BEFORE, "journalctl .*": "the journal", "put-back .*": "redis", "own-data .*": ""}
    script |= takes(f"end to stop {UNIT}")
    fails = "end to restart|systemctl is-active" + ("" if ends else "|end to stop")
    result = run(production(crypto=Site([state(upgraded)], script, fails=fails)), "-y", secrets_file=secrets_file)
    assert result.exit_code != 0
    given = [item for item in result.commands("redis-crypto") if item.startswith("own-data")]
    assert len(given) == ends
    assert ("not rolled back, its server has not ended: it failed: deploy again when it has" in result.output) != ends


def test_instances_are_restarted_in_the_order_of_their_hosts_names(secrets_file: Path) -> None:
    def upgraded(host: Host) -> Observed:
        seen = as_desired(host)
        return replace(seen, binaries=dict.fromkeys(seen.binaries, "/usr/bin/redis-server (deleted)"))

    sites = {
        host: Site(
            [upgraded, as_desired],
            {"before a restart": BEFORE, **takes(f"end to restart redis-{role}.service", forget(role))},
        )
        for host, role in PROD.items()
    }
    result = run(sites, "-y", secrets_file=secrets_file)
    assert result.exit_code == 0, result.output
    gone_through = [event.host for event in result.events if re.search("job=restart|rm -f", event.text)]
    assert gone_through == [host for host in sorted(PROD) for _ in range(2)]


def test_a_change_that_did_not_take_effect_fails_the_deploy(secrets_file: Path) -> None:
    broken = state(lambda seen: with_file(seen, "/etc/redis/crypto.conf", content="hz 1\n"))
    sites = production(crypto=Site([broken], takes("write /etc/redis/crypto.conf root:redis-crypto 0640")))
    result = run(sites, "-y", secrets_file=secrets_file)
    assert result.exit_code != 0
    assert "crypto: file /etc/redis/crypto.conf" in result.output


def test_what_needs_a_person_is_not_fought_but_fails_the_deploy(secrets_file: Path) -> None:
    path = f"/etc/systemd/system/{UNIT}.d/override.conf"
    sites = production(crypto=Site([state(lambda seen: with_unit(seen, UNIT, DropInPaths=path))]))
    result = run(sites, "-y", secrets_file=secrets_file)
    assert result.exit_code != 0
    assert result.names() == ["Prove the tier"]
    assert result.commands("redis-crypto") == []
    assert path in result.output


def test_differing_drift_on_every_host_is_mended_by_operations_of_the_same_names(secrets_file: Path) -> None:
    def conf(role: str) -> Callable[[Host], Observed]:
        return state(lambda seen: with_file(seen, f"/etc/redis/{role}.conf", content=f"# {role}\n"))

    sites = {
        host: Site([conf(role), as_desired], takes(f"write /etc/redis/{role}.conf root:redis-{role} 0640"))
        for host, role in PROD.items()
    }
    result = run(sites, "-y", secrets_file=secrets_file)
    assert result.exit_code == 0, result.output
    assert result.names() == all_of(["Write the instances' files"], True)
    assert {operation.hosts for operation in result.operations} == {tuple(sorted(PROD))}
