"""Instances: files in place for all roles first, then what can change live, then starts and gated restarts."""

from __future__ import annotations

from collections.abc import Iterable, Set

from pyinfra.api.state import State

from tasks.desired import Instance
from tasks.difference import (
    ASIDE,
    DISABLE,
    ENABLE,
    INSTALL,
    LEAD,
    LIVE,
    RELOAD,
    REMOVE,
    RESTART,
    RETIRE,
    REWRITE,
    START,
    TO_LOG,
    TO_SNAPSHOT,
    Difference,
    chosen,
)
from tasks.paths import INNER_PORT_UNIT, UNITS, acl_file, config_file, data_directory, previous_file, start_files
from tasks.run import Look
from tasks.steps.adopt import adopt_data, check_adopted
from tasks.steps.convert import make_logs, make_snapshots
from tasks.steps.install import PACKAGE_RULES, files_of
from tasks.steps.kernel import KERNEL_FILES
from tasks.steps.live import change_live
from tasks.steps.operations import call, run_commands, write_files
from tasks.steps.restart import restart_gated, start
from tasks.steps.trial import try_candidates
from tasks.throwaway import OLD

# Declared before it is deleted: stopping the unit may have removed it already.
NO_TABLE = "nft 'table ip redis_inner_port; delete table ip redis_inner_port'"


def converge_instances(state: State, seen: Look) -> None:
    """Every instance of the host runs as desired; those that are right are not touched."""
    try_candidates(state, seen)
    remove_leftovers(seen)
    empty = by_role(seen, TO_LOG)
    if empty:
        # Before the files: should the host go down now, no file says yet that a log is to be loaded.
        call(name="Make logs of snapshots", function=make_logs, instances=list(empty))
    # Before the files: a setting that the server refuses is never written, and `appendonly yes` must not be
    # in the file while the first log is still being written (redis-facts §2).
    servers = seen.observed.servers if seen.observed else {}
    live = by_role(seen, (LIVE, ASIDE, REWRITE), "setting", "acl", "persistence")
    if live:
        call(
            name="Change settings and users live",
            function=change_live,
            changes=live,
            servers=servers,
            passwords=seen.passwords,
        )
    files = files_of(seen, outside=(*PACKAGE_RULES, *KERNEL_FILES))
    starting = by_role(seen, START, "unit")
    restarting = {instance: why for instance, why in by_role(seen, RESTART).items() if instance not in starting}
    if files:
        # What a process is started from is kept until its successor has passed its gate.
        keep = {path for instance in (*starting, *restarting) for path in start_files(instance.name)}
        write_files(name="Write the instances' files", files=files, keep=sorted(keep))
    load_units(seen, any(file.path.startswith(UNITS) for file in files))
    keys = adopt_data(seen)
    lead_inner_ports(seen)
    full = by_role(seen, TO_SNAPSHOT)
    if full:
        call(name="Make snapshots of logs", function=make_snapshots, instances=list(full))
    aside = by_role(seen, ASIDE)
    if aside:
        # After the files: until they say so, the next start would load the log.
        run_commands(name="Put logs aside that are no longer written", commands=aside_commands(aside))
    if starting:
        call(name="Start instances", function=start, instances=list(starting), passwords=seen.passwords)
    check_adopted(seen, keys)
    if restarting:
        call(
            name="Restart instances one at a time",
            function=restart_gated,
            instances={instance: servers.get(instance.name) for instance in restarting},
            passwords=seen.passwords,
        )
    forget_previous(seen, starting.keys() | restarting.keys())


def aside_commands(instances: Iterable[Instance]) -> list[str]:
    """Rename logs that a server has stopped to write; one that was put aside before makes room. Pure."""
    logs = [f"{data_directory(instance.name)}/{instance.role.appenddirname}" for instance in instances]
    return [command for log in logs for command in (f"rm -rf {log}{OLD}", f"mv -T {log} {log}{OLD}")]


def forget_previous(seen: Look, started: Set[Instance]) -> None:
    """What an interrupted deploy kept of instances that run well is removed; the others' gate does it."""
    mine = {previous_file(path) for instance in started for path in start_files(instance.name)}
    left = [path for path in removable(seen) if path.endswith(".previous") and path not in mine]
    if left:
        run_commands(name="Forget the previous configuration", commands=[f"rm -f {' '.join(left)}"])


def removable(seen: Look) -> list[str]:
    """Files on the host that should not be there."""
    return [item.name for item in chosen(seen.differences, "file", remedy=REMOVE)]


def by_role(seen: Look, remedy: str | tuple[str, ...], *subjects: str) -> dict[Instance, list[Difference]]:
    """Instances that need `remedy`, or one of several, each with the differences that ask for it."""
    remedies = (remedy,) if isinstance(remedy, str) else remedy
    found: dict[Instance, list[Difference]] = {}
    for instance in seen.desired.instances:
        wanted = [
            item
            for item in seen.differences
            if item.role == instance.name and item.remedy in remedies and (not subjects or item.subject in subjects)
        ]
        if wanted:
            found[instance] = wanted
    return found


def remove_leftovers(seen: Look) -> None:
    """What no role of the host asks for any more is stopped first and then removed."""
    retire = [item.name for item in chosen(seen.differences, "unit", remedy=RETIRE)]
    if retire:
        run_commands(name="Retire roles the host no longer carries", commands=retire_commands(retire))
    units = [item.name for item in chosen(seen.differences, "unit", remedy=DISABLE)]
    if units:
        run_commands(name="Stop units no role needs", commands=[f"systemctl disable --now {unit}" for unit in units])
    paths = [path for path in removable(seen) if not path.endswith(".previous")]
    if paths:
        reload = ["systemctl daemon-reload"] if any(path.startswith(UNITS) for path in paths) else []
        run_commands(name="Remove files no role needs", commands=[f"rm -f {' '.join(paths)}", *reload])


def retire_commands(units: list[str]) -> list[str]:
    """Stop, disable and remove units with their configuration; data directories stay where they are. Pure."""
    commands = []
    for unit in units:
        role = unit.removeprefix("redis-").removesuffix(".service")
        files = (f"{UNITS}/{unit}", config_file(role), acl_file(role))
        commands += [f"systemctl disable --quiet --now {unit}", f"rm -f {' '.join(files)}"]
    return [*commands, "systemctl daemon-reload"]


def load_units(seen: Look, written: bool) -> None:
    """systemd knows the units as they are on disk, and starts them at boot."""
    enable = [item.name for item in chosen(seen.differences, "unit", remedy=ENABLE)]
    reload = written or chosen(seen.differences, "unit", remedy=RELOAD)
    commands = ["systemctl daemon-reload"] if reload else []
    if enable:
        # Somebody may have masked a unit; unmasking one that is not changes nothing.
        commands += [f"systemctl {verb} --quiet {' '.join(enable)}" for verb in ("unmask", "enable")]
    if commands:
        run_commands(name="Load and enable the units", commands=commands)


def lead_inner_ports(seen: Look) -> None:
    """The inner ports lead to the assigned ones; connections through them survive a change of the rules."""
    wrong = [item for item in chosen(seen.differences, "unit", remedy=START) if item.name == INNER_PORT_UNIT]
    rules = [item for item in chosen(seen.differences, "file") if item.name.endswith("inner-port.nft")]
    stray = chosen(seen.differences, "listener", remedy=LEAD)
    if stray and not seen.desired.forwards:
        run_commands(name="Remove the inner ports", commands=[NO_TABLE])
    unseen = [item for item in chosen(seen.differences, "package", remedy=INSTALL) if item.name == "nftables"]
    if (wrong or rules or stray or unseen) and seen.desired.forwards:
        run_commands(name="Lead the inner ports", commands=[f"systemctl reload-or-restart {INNER_PORT_UNIT}"])
