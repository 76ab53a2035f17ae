"""Instances: files in place for all roles first, then what can change live, then starts and gated restarts."""

from __future__ import annotations

from tasks.compare import (
    DISABLE,
    ENABLE,
    INSTALL,
    LEAD,
    LIVE,
    RELOAD,
    REMOVE,
    RESTART,
    RETIRE,
    START,
    Difference,
    chosen,
)
from tasks.desired import INNER_PORT_UNIT, UNITS, Instance, acl_file, config_file
from tasks.run import Look
from tasks.steps.adopt import adopt_data, check_adopted
from tasks.steps.gate import restart_gated, start
from tasks.steps.install import PACKAGE_RULES, files_of
from tasks.steps.kernel import KERNEL_FILES
from tasks.steps.live import change_live
from tasks.steps.operations import call, run_commands, write_files

# Declared before it is deleted: stopping the unit may have removed it already.
NO_TABLE = "nft 'table ip redis_inner_port; delete table ip redis_inner_port'"


def converge_instances(seen: Look) -> None:
    """Every instance of the host runs as desired; those that are right are not touched."""
    remove_leftovers(seen)
    # Before the files: a setting that the server refuses is never written, and `appendonly yes` must not be
    # in the file while the first log is still being written (redis-facts §2).
    live = by_role(seen, LIVE, "setting", "acl")
    if live:
        call(
            name="Change settings and users live",
            function=change_live,
            changes=live,
            servers=seen.observed.servers if seen.observed else {},
            passwords=seen.passwords,
        )
    files = files_of(seen, outside=(*PACKAGE_RULES, *KERNEL_FILES))
    if files:
        write_files(name="Write the instances' files", files=files)
    load_units(seen, any(file.path.startswith(UNITS) for file in files))
    keys = adopt_data(seen)
    lead_inner_ports(seen)
    starting = by_role(seen, START, "unit")
    if starting:
        call(name="Start instances", function=start, instances=list(starting))
    check_adopted(seen, keys)
    restarting = {instance: why for instance, why in by_role(seen, RESTART).items() if instance not in starting}
    if restarting:
        call(
            name="Restart instances one at a time",
            function=restart_gated,
            instances=list(restarting),
            passwords=seen.passwords,
        )


def by_role(seen: Look, remedy: str, *subjects: str) -> dict[Instance, list[Difference]]:
    """Instances that need `remedy`, each with the differences that ask for it."""
    found: dict[Instance, list[Difference]] = {}
    for instance in seen.desired.instances:
        wanted = [
            item
            for item in seen.differences
            if item.role == instance.name and item.remedy == remedy and (not subjects or item.subject in subjects)
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
    paths = [item.name for item in chosen(seen.differences, "file", remedy=REMOVE)]
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
