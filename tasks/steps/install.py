"""Install: Redis from the distribution, its packaged service never running, upgrades left to a decision."""

from __future__ import annotations

import time

from pyinfra import logger
from pyinfra.api.host import Host
from pyinfra.api.state import State
from pyinfra.operations import apt

from tasks.catalogue.printable import printable
from tasks.compare.adoption import packaged_is_adopted
from tasks.compare.difference import ByHand, Remedy, chosen
from tasks.compare.packages import packages_due
from tasks.desired.host import File
from tasks.desired.paths import DATA_ROOT, PACKAGED_EXPORTER, PACKAGED_UNIT, SYSUSERS
from tasks.observed.bounds import APT_PATIENCE, WORD
from tasks.observed.connection import run_command
from tasks.observed.script import script
from tasks.run.survey import Look
from tasks.steps.operations import call, run_commands, write_files

PACKAGE_RULES = ("/etc/apt/", "/etc/needrestart")
ACCOUNT_RULES = (SYSUSERS,)


def install_redis(seen: Look) -> None:
    """The packages are installed in the wanted versions, without the packaged unit starting for a moment."""
    differences = seen.differences
    mask_packaged(seen)
    rules = files_of(seen, PACKAGE_RULES)
    if rules:
        write_files(name="Write the package rules", files=rules)
    packages = packages_due(seen.desired, differences)
    if packages:
        call(name="Wait for apt", function=wait_for_apt)
        # A source of somebody else's that is broken says so, and keeps nobody from installing from the others.
        apt.update(name="Refresh the lists of packages", cache_time=3600, _ignore_errors=True)
        apt.packages(
            name="Install Redis",
            packages=packages,
            no_recommends=True,
            allow_downgrades=True,
            extra_install_args=f"-o DPkg::Lock::Timeout={APT_PATIENCE}",
        )
    kept = [item.name for item in chosen(differences, "package", remedy=Remedy.KEEP)]
    if kept:
        run_commands(name="Keep the packages from an autoremove", commands=[f"apt-mark -qq manual {' '.join(kept)}"])
    accounts = chosen(differences, "unit", remedy=Remedy.ACCOUNT)
    files = files_of(seen, ACCOUNT_RULES)
    if files:
        write_files(name="Write who the roles' users are", files=files)
    if accounts or files:
        paths = [file.path for file in seen.desired.files if file.path.startswith(f"{SYSUSERS}/")]
        run_commands(name="Make the roles' users", commands=[f"systemd-sysusers {' '.join(paths)}"])
    overrides = [item for item in chosen(differences, "file") if item.expected.startswith("dpkg-statoverride")]
    if overrides:
        commands = [override_command(seen.desired.statoverrides[item.name], item.name) for item in overrides]
        run_commands(name="Keep the modes of Redis' directories over upgrades", commands=commands)


def mask_packaged(seen: Look) -> None:
    """No unit of the packages ever starts. Before they are installed, which would start it."""
    masked = {item.name for item in chosen(seen.differences, "unit", remedy=Remedy.MASK)}
    if PACKAGED_UNIT in masked:
        # One whose data is adopted serves until then. Masked all the same: an upgrade would restart it. Masked it has
        # systemd's own 90 s to save before it is killed, so a stop must not be systemd's (tasks/steps/adopt.py).
        stays = seen.observed is not None and packaged_is_adopted(seen.desired, seen.observed)
        now = "" if stays else " --now"
        run_commands(name="Mask the packaged Redis service", commands=[f"systemctl mask{now} {PACKAGED_UNIT}"])
    if PACKAGED_EXPORTER in masked:
        run_commands(name="Mask the packaged exporter", commands=[f"systemctl mask --now {PACKAGED_EXPORTER}"])


def wait_for_apt(state: State, host: Host) -> bool:
    """Nobody else works with apt or dpkg: what does is waited for and named, and never ended."""
    began = time.monotonic()
    said, next_word = "", 0.0
    while True:
        found = run_command(state, host, script("apt-holder"))
        if not found.succeeded:
            text = f"whether another apt is at work could not be seen: {found.output}: deploy again"
            host.log_styled(text, fg="red", log_func=logger.error)
            return False
        holders = sorted({line.partition(" ")[2] for line in found.stdout.splitlines()})
        if not holders:
            return True
        waited = time.monotonic() - began
        who = printable(", ".join(holders))
        if waited > APT_PATIENCE:
            text = f"apt is held by {who} since {waited:.0f} s: nothing was installed: deploy again when that has ended"
            host.log_styled(text, fg="red", log_func=logger.error)
            return False
        if who != said or waited > next_word:
            host.log_styled(f"apt is held by {who}: waiting (at most {APT_PATIENCE} s)", fg="yellow")
            said, next_word = who, waited + WORD
        time.sleep(1)


def override_command(rule: str, path: str) -> str:
    """A package leaves owner and mode of a directory alone; that of all data gets them later (instances.py). Pure."""
    now = "" if path == DATA_ROOT else "--update "
    return f"dpkg-statoverride --force-statoverride-add {now}--add {rule} {path}"


def files_of(seen: Look, prefixes: tuple[str, ...] = ("/",), outside: tuple[str, ...] = ()) -> list[File]:
    """The desired files under `prefixes` and not under `outside` that differ on the host."""
    items = chosen(seen.differences, "file")
    different = {
        item.name
        for item in items
        if not item.expected.startswith("dpkg-statoverride") and not isinstance(item.remedy, ByHand)
    }
    return [
        file
        for file in seen.desired.files
        if file.path in different and file.path.startswith(prefixes) and not file.path.startswith(outside)
    ]
