"""Instances: files in place for all roles first, then what can change live, then starts and gated restarts."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence, Set

from pyinfra.api.state import State

from tasks.catalogue.rotation import Edit
from tasks.compare.adoption import adopted_directories
from tasks.compare.certificates import forgets_ca
from tasks.compare.data_files import data_user, lacks_data
from tasks.compare.difference import Difference, Remedy, chosen
from tasks.desired.guard import files_of_a_pair
from tasks.desired.host import Instance
from tasks.desired.paths import (
    BACKUP_TOOLS,
    DATA_ROOT,
    OLD,
    PREVIOUS,
    RECORDS,
    UNITS,
    begun_file,
    handed_over_drop_in,
    log_directory,
    old_tls_files,
    previous_file,
    start_files,
    tls_files,
    trusted_file,
)
from tasks.observed.bounds import ASIDE_PATIENCE
from tasks.observed.script import script
from tasks.observed.state import Server
from tasks.run.survey import Look
from tasks.steps.addresses import addresses_of_pairs, files_with_addresses
from tasks.steps.adopt import adopt_data, check_adopted, root_script
from tasks.steps.convert import make_logs, make_snapshots
from tasks.steps.handover import forget_handovers
from tasks.steps.inner_port import lead_inner_ports
from tasks.steps.install import ACCOUNT_RULES, PACKAGE_RULES, files_of
from tasks.steps.kernel import KERNEL_FILES
from tasks.steps.live import change_live
from tasks.steps.log import own_data
from tasks.steps.operations import call, remove_commands, run_commands, write_files
from tasks.steps.restart import restart_one_at_a_time, start
from tasks.steps.rotation import record_since
from tasks.steps.sandbox import as_role
from tasks.steps.trial import try_candidates

TRIED = "activating"  # systemd's ActiveState of a unit between two tries to start it
DATA_AT_REST = (Remedy.TO_LOG, Remedy.TO_SNAPSHOT, Remedy.ADOPT)  # what is done to the data of a stopped server


def converge_instances(state: State, seen: Look, changed: Collection[Edit] = ()) -> None:
    """Every instance of the host runs as desired; those that are right are not touched.

    `changed`: steps of rotations that the secrets file has taken.
    """
    try_candidates(state, seen)
    starting = by_role(seen, Remedy.START, "unit")
    tried = failing(seen, starting)
    # What is to follow another one has data to be set aside: it starts when that is done, and not by itself before.
    keep_down(seen, [*tried, *failing(seen, by_role(seen, Remedy.FOLLOW, "unit"))])
    fence_data(seen)
    remove_leftovers(seen)
    addresses_of_pairs(seen)
    place_certificates(seen)
    prepare_data(seen)
    restarting = {instance: why for instance, why in by_role(seen, Remedy.RESTART).items() if instance not in starting}
    write_instances(seen, [*starting, *restarting])
    remove_guards(seen)
    keys = adopt_data(seen)
    lead_inner_ports(seen)
    settle_data(seen)
    if starting:
        call(name="Start instances", function=start, instances=list(starting), passwords=seen.passwords, tried=tried)
    check_adopted(seen, keys)
    if restarting:
        before = {instance: servers_of(seen).get(instance.name) for instance in restarting}
        restart_one_at_a_time(state, seen.desired.name, before, seen.passwords)
    forget_previous(seen, starting.keys() | restarting.keys())
    record_since(seen, changed)
    remove_certificates(seen)
    record_begun(seen, restarting.keys())


def failing(seen: Look, starting: Iterable[Instance]) -> list[Instance]:
    """Those that systemd was seen to try again and again: they may come up at any moment, as when a disk has room."""
    return [item for item in starting if seen.observed and seen.observed.unit(item.unit)["ActiveState"] == TRIED]


def keep_down(seen: Look, tried: Sequence[Instance]) -> None:
    """What systemd tries to start again and again stays down until it is told to start. Before anything of it changes.

    One that has come up meanwhile is not cut off here: it restarts through its gate, when its files are there.
    """
    data = by_role(seen, DATA_AT_REST)
    commands = [script("keep-down", unit=item.unit, data="yes" if item in data else "no") for item in tried]
    if commands:
        run_commands(name="Keep failing units down", commands=commands)


def fence_data(seen: Look) -> None:
    """No role can put anything in the place of its directory. Before root looks into one of them.

    Not while a server that is adopted saves there: its adoption does it when that has ended.
    """
    wrong = [file.path for file in files_of(seen, (DATA_ROOT,)) if file.path == DATA_ROOT]
    if wrong and seen.observed and DATA_ROOT not in adopted_directories(seen.desired, seen.observed):
        run_commands(name="Give the directory of all data to root", commands=[root_script()])


def servers_of(seen: Look) -> Mapping[str, Server]:
    """What the running instances said, by role."""
    return seen.observed.servers if seen.observed else {}


def place_certificates(seen: Look) -> None:
    """The certificates and keys of roles that speak TLS are on disk. Before a running server is told to load them.

    Which ca clients are checked by is recorded at the end (`record_begun`): nothing is, while that changes.
    """
    files = files_of(seen, certificates(seen))
    known = seen.observed
    changed = [item.name for item in seen.desired.instances if known is not None and forgets_ca(item, known)]
    if changed:
        paths = [trusted_file(name) for name in changed]
        run_commands(name="Forget which ca clients were checked by", commands=[f"rm -f {' '.join(paths)}"])
    if files:
        write_files(name="Write certificates and keys", files=files)


def remove_certificates(seen: Look) -> None:
    """Those of roles that speak TLS no more are gone. After their configuration, with which a start would read them."""
    paths = [path for path in removable(seen) if path in certificates(seen)]
    if paths:
        run_commands(name="Remove certificates and keys of before", commands=[f"rm -f {' '.join(paths)}"])


def certificates(seen: Look) -> tuple[str, ...]:
    """Where the roles of a host have their certificates and keys, if they have any."""
    names = [role.name for role in seen.desired.roles]
    return tuple(path for name in names for path in (*tls_files(name), *old_tls_files(name)))


def guards(seen: Look) -> tuple[str, ...]:
    """What the units of the host's roles run and read before a start, if they are of a pair."""
    return tuple(path for role in seen.desired.roles for path in files_of_a_pair(role.name))


def remove_guards(seen: Look) -> None:
    """Those of roles that are of no pair any more are gone. After their units, which fail each start without them.

    A mark that nobody can have been put in a host's place stays gone through a cut: it would start by it.
    """
    paths = [path for path in removable(seen) if path in guards(seen)]
    if paths:
        kept = [RECORDS] if any(path.startswith(f"{RECORDS}/") for path in paths) else []
        commands = [f"rm -f {' '.join(paths)}", *(f"sync {directory}" for directory in kept)]
        run_commands(name="Ask nobody before a start any more", commands=commands)


def prepare_data(seen: Look) -> None:
    """Running instances are as desired, and data is where the files are about to say that it is.

    Before the files: a setting that the server refuses is never written, and `appendonly yes` must not be in the
    file while the first log is still being written, should the host go down now (redis-facts §2).
    """
    if begun_anew(seen):
        run_commands(name="Let instances begin without their data", commands=[f"rm -f {' '.join(begun_anew(seen))}"])
    strange = by_role(seen, Remedy.OWN)
    if strange:
        users = {instance: data_user(instance, seen.observed) for instance in strange} if seen.observed else {}
        call(name="Give data back to its users", function=own_data, users=users)
    without_log = by_role(seen, Remedy.TO_LOG)
    if without_log:
        call(name="Make logs of snapshots", function=make_logs, instances=list(without_log))
    live = by_role(seen, (Remedy.LIVE, Remedy.ASIDE, Remedy.REWRITE), "setting", "acl", "persistence")
    if live:
        call(
            name="Change settings and users live",
            function=change_live,
            changes=live,
            servers=servers_of(seen),
            passwords=seen.passwords,
        )


def write_instances(seen: Look, beginning: Sequence[Instance]) -> None:
    """The files of all instances are on disk and loaded by systemd; of those that are about to begin, the old ones too.

    What a process was started from is kept until its successor has passed its gate.
    """
    files = files_of(
        seen,
        outside=(*PACKAGE_RULES, *ACCOUNT_RULES, *KERNEL_FILES, RECORDS, *certificates(seen)),
    )
    written = files_with_addresses(seen)
    files = [file for file in files if file.path != DATA_ROOT and file not in written]
    noted = [file for file in files_of(seen, (RECORDS,)) if file.path in guards(seen) and file not in written]
    if noted:
        files += [*(file for file in files_of(seen, (RECORDS,)) if file.path == RECORDS), *noted]
    if files:
        keep = sorted(path for instance in beginning for path in start_files(instance.name))
        before = (BACKUP_TOOLS, RECORDS, *guards(seen))
        write_files(name="Write the instances' files", files=files, keep=keep, before=before)
    load_units(seen)


def record_begun(seen: Look, restarted: Set[Instance]) -> None:
    """It is written where no role can change it that the instances have run here, and by which ca they check clients.

    After their gates: they have data, and have loaded that.

    One with save points and no log has a snapshot since it was stopped for its restart, if it had none before; so has
    one that got its data as a snapshot in this run.
    """
    with_snapshot = {begun_file(item.name) for item in restarted if item.role.save and not item.role.appendonly}
    with_snapshot |= {begun_file(item.name) for item in by_role(seen, (Remedy.ADOPT, Remedy.TO_SNAPSHOT))}
    known = seen.observed.files.keys() if seen.observed else set()
    due = {file.path for file in files_of(seen, (RECORDS,))} | {*begun_anew(seen)} | (with_snapshot - known)
    due -= {*guards(seen)}  # which are written before the units that ask for them
    files = [file for file in seen.desired.files if file.path in due]
    if files:
        write_files(name="Record what has run here", files=files)


def begun_anew(seen: Look) -> list[str]:
    """The records of instances whose data is gone, and which are to begin without it."""
    if seen.observed is None:
        return []
    asked = [item for item in seen.desired.instances if item.name in seen.desired.requests.begin_empty]
    return [begun_file(item.name) for item in asked if lacks_data(item, seen.observed)]


def settle_data(seen: Look) -> None:
    """Data of which the files no longer speak is put aside. After them: until they change, the next start loads it."""
    with_log = by_role(seen, Remedy.TO_SNAPSHOT)
    if with_log:
        call(name="Make snapshots of logs", function=make_snapshots, instances=list(with_log))
    aside = by_role(seen, Remedy.ASIDE)
    if aside:
        run_commands(name="Put logs aside that are no longer written", commands=[*map(aside_command, aside)])


def aside_command(instance: Instance) -> str:
    """Rename a log that a server has stopped to write; one that was put aside before keeps another name. Pure."""
    log = log_directory(instance.role)
    return as_role(instance, script("put-aside", log=log, old_log=log + OLD), ASIDE_PATIENCE)


def forget_previous(seen: Look, started: Set[Instance]) -> None:
    """What an interrupted deploy kept of instances that run well is removed; the others' gate does it."""
    mine = {previous_file(path) for instance in started for path in start_files(instance.name)}
    left = [path for path in removable(seen) if path.endswith(PREVIOUS) and path not in mine]
    if left:
        run_commands(name="Forget the previous configuration", commands=[f"rm -f {' '.join(left)}"])


def removable(seen: Look) -> list[str]:
    """Files on the host that should not be there."""
    return [item.name for item in chosen(seen.differences, "file", remedy=Remedy.REMOVE)]


def by_role(seen: Look, remedy: Remedy | tuple[Remedy, ...], *subjects: str) -> dict[Instance, list[Difference]]:
    """Instances that need `remedy`, or one of several, each with the differences that ask for it."""
    remedies = (remedy,) if isinstance(remedy, Remedy) else remedy
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
    """What no role of the host asks for is stopped first and then removed; whole roles end last (retire.py)."""
    units = [item.name for item in chosen(seen.differences, "unit", remedy=Remedy.DISABLE)]
    if units:
        run_commands(name="Stop units no role needs", commands=[f"systemctl disable --now {unit}" for unit in units])
    fences = {handed_over_drop_in(item.name): item.name for item in seen.desired.instances}
    served = [fences[path] for path in removable(seen) if path in fences]
    if served:
        call(
            name="Let roles start again that were not handed over",
            function=forget_handovers,
            roles=served,
            passwords=seen.passwords,
        )
    later = {*certificates(seen), *fences, *guards(seen)}
    paths = [path for path in removable(seen) if not path.endswith(PREVIOUS) and path not in later]
    if paths:
        reload = ["systemctl daemon-reload"] if any(path.startswith(UNITS) for path in paths) else []
        # Drop-ins of this tool's: with the last of them their directory goes.
        within = sorted({path.rpartition("/")[0] for path in paths if path.rpartition("/")[0].endswith(".service.d")})
        empty = [f"rmdir --ignore-fail-on-non-empty {directory}" for directory in within]
        run_commands(name="Remove files no role needs", commands=[*remove_commands(paths), *empty, *reload])


def load_units(seen: Look) -> None:
    """systemd knows the units as they are on disk, and starts them at boot."""
    enable = [item.name for item in chosen(seen.differences, "unit", remedy=Remedy.ENABLE)]
    reload = chosen(seen.differences, "unit", remedy=Remedy.RELOAD)
    commands = ["systemctl daemon-reload"] if reload else []
    if enable:
        # Somebody may have masked a unit; unmasking one that is not changes nothing.
        commands += [f"systemctl {verb} --quiet {' '.join(enable)}" for verb in ("unmask", "enable")]
    if commands:
        run_commands(name="Load and enable the units", commands=commands)
