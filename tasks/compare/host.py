"""Compare desired with observed state: the one list of differences that every other part acts on or reports.

Pure. Values are compared by meaning (tasks/catalogue/directives.py). A consequence is not listed beside its cause: an
instance that does not run has one difference, not one for each of its settings. A host here, a server in server.py.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from tasks.catalogue.directives import DIRECTIVES
from tasks.catalogue.values import SECRET
from tasks.compare.acl_file import has_all_users, replay_differences
from tasks.compare.addresses import address_differences
from tasks.compare.adoption import adoption_differences, missed_data
from tasks.compare.backups import backup_leftovers
from tasks.compare.certificates import (
    RefusedSwitch,
    certificate_differences,
    clear_notes,
    refused_switches,
    stale_files,
)
from tasks.compare.data_files import data_user, has_begun, storage_links
from tasks.compare.difference import ByHand, Difference, RefusedRestart, Remedy
from tasks.compare.guard import guard_differences
from tasks.compare.leftovers import leftover_differences
from tasks.compare.listeners import listener_differences
from tasks.compare.loading import skipped
from tasks.compare.metrics import metrics_differences
from tasks.compare.moving import handover_differences, named_copies
from tasks.compare.passwords import keep_password, keeps_other_passwords
from tasks.compare.planted import planted
from tasks.compare.restarts import restart_refusals
from tasks.compare.rotation import record_differences, rotation_notices
from tasks.compare.server import server_differences
from tasks.compare.set_aside import set_aside_notices
from tasks.compare.standby import of_standbys, standby_differences
from tasks.desired.backup import PACKAGE as RESTIC
from tasks.desired.host import USER_NAMESPACES, File, Host, Unit
from tasks.desired.metrics import PACKAGE as EXPORTER
from tasks.desired.paths import (
    DATA_ROOT,
    EXPORTER_PASSWORDS,
    METRICS_UNIT,
    PROVER,
    PROVER_FILE,
    SYSCTL_FILE,
    THP_FILE,
    account_file,
    acl_file,
    backup_file,
    begun_file,
    copy_drop_in,
    data_directory,
    handed_over_drop_in,
    proof_unit,
)
from tasks.observed.state import FileState, Observed

# A line with one of these may hold a password, whoever wrote it into a file of ours.
OTHER_CONTENT = "other content"
AS_RENDERED = "content as rendered"
PASSWORD_DIRECTIVES = (*(name for name, item in DIRECTIVES.items() if item.form is SECRET), "user", "sentinel")


def compare(desired: Host, observed: Observed) -> list[Difference]:
    """Every difference between the two, sorted; empty when the host is as it should be."""
    found = [
        *_packages(desired, observed),
        *storage_links(desired, observed),
        *planted(desired, observed),
        *_accounts(desired, observed),
        *_files(desired, observed),
        *stale_files(desired, observed),
        *_units(desired, observed),
        *_kernel(desired, observed),
        *_user_namespaces(desired, observed),
        *address_differences(desired, observed),
        *listener_differences(desired, observed),
        *(difference for instance in desired.instances for difference in server_differences(instance, observed)),
        *replay_differences(desired, observed),
        *record_differences(desired, observed),
        *_restarts_for_upgrade(desired, observed),
        *adoption_differences(desired, observed),
        *leftover_differences(desired, observed),
        *backup_leftovers(desired, observed),
        *metrics_differences(desired, observed),
        *handover_differences(desired, observed),
        *guard_differences(desired, observed),
        *standby_differences(desired, observed),
    ]
    found += _certificates(desired, observed, found)
    found = named_copies([_without_refused_restarts(item, desired, observed) for item in found], observed)
    found = of_standbys(found, desired, observed)
    return sorted(found, key=lambda item: (item.role or "", item.subject, item.name, item.expected))


def _certificates(desired: Host, observed: Observed, found: Sequence[Difference]) -> Iterator[Difference]:
    """What servers are to load anew; `found`: the differences of files among others."""
    other = {
        item.name
        for item in found
        if item.subject == "file" and (item.observed in (OTHER_CONTENT, "absent") or item.expected == AS_RENDERED)
    }
    for instance in desired.instances:
        server = observed.servers.get(instance.name)
        if server is not None and server.refusal is None and observed.is_active(instance.unit):
            yield from certificate_differences(instance, server, other)


def _without_refused_restarts(item: Difference, desired: Host, observed: Observed) -> Difference:
    """A restart that the gate would refuse, as far as the look shows it, is not promised."""
    instance = next((one for one in desired.instances if one.name == item.role), None)
    server = observed.servers.get(item.role or "")
    if item.remedy != Remedy.RESTART or instance is None or server is None or server.refusal is not None:
        return item
    reasons = restart_refusals(instance.role, server.info)
    return replace(item, remedy=RefusedRestart(f"not restarted: {'; '.join(reasons)}")) if reasons else item


def notices(desired: Host, observed: Observed) -> list[str]:
    """What a person should know and nothing can be done about; for the report only."""
    carried = "sshd forbids tunnels to this login: a command there carries what is said to its instances"
    return [
        *kernel_notices(desired, observed),
        *_loading_notices(desired, observed),
        *set_aside_notices(desired, observed),
        *rotation_notices(desired, observed),
        *clear_notes(desired),
        *([carried] if observed.is_carried else []),
    ]


def _loading_notices(desired: Host, observed: Observed) -> Iterator[str]:
    """Writes that are gone for good, and starts of which nobody knows any more what they said."""
    for instance in desired.instances:
        server = observed.servers.get(instance.name)
        if server is None or server.refusal is not None or skipped(server):
            continue
        count = server.info.get("unexpected_error_replies", "0")
        if count != "0":
            yield (
                f"{instance.name}: {count} commands were skipped when it started, and its log was rewritten since: "
                "those writes are gone, unless a backup has them"
            )
        elif not server.said_from_start:
            yield (
                f"{instance.name}: whether its last start skipped writes is not known: its counters were reset, and "
                "the journal does not reach back to the start"
            )


def kernel_notices(desired: Host, observed: Observed) -> list[str]:
    """What the kernel should say but this host, a container, may not change; for the report only."""
    if not observed.container:
        return []
    wrong = [
        f"{name} is {observed.sysctls[name]}, wanted {value}"
        for name, value in desired.sysctls.items()
        if name in observed.sysctls and observed.sysctls[name] != value
    ]
    if observed.thp and desired.thp and f"[{desired.thp}]" not in observed.thp:
        wrong.append(f"transparent huge pages are {observed.thp}, wanted {desired.thp}")
    return [f"{item}: the kernel belongs to the {observed.container} host, set it there" for item in wrong]


def _packages(desired: Host, observed: Observed) -> Iterator[Difference]:
    for name, version in desired.packages.items():
        installed = observed.packages.get(name)
        if installed is None or (version is not None and installed != version):
            yield Difference(
                None, "package", name, version or "installed", installed or "not installed", Remedy.INSTALL
            )
        elif name in observed.automatic and name not in (RESTIC, EXPORTER):
            # redis-tools takes /var/lib/redis with it when it is purged (redis-facts §1).
            found = "installed automatically: apt autoremove --purge may delete it, and /var/lib/redis"
            yield Difference(None, "package", name, "installed for itself", found, Remedy.KEEP)


def _accounts(desired: Host, observed: Observed) -> Iterator[Difference]:
    """Users that the files which make them have not made; a file that is not there yet is listed itself."""
    for instance in desired.instances:
        if account_file(instance.name) in observed.files and instance.user not in observed.accounts:
            expected = f"its user and group {instance.user}"
            yield Difference(instance.name, "unit", instance.unit, expected, "absent", Remedy.ACCOUNT)
    if PROVER not in observed.accounts:
        for plan in desired.proofs:
            if plan.of and PROVER_FILE in observed.files:
                unit, expected = f"{proof_unit(plan.role.name)}.service", f"its user and group {PROVER}"
                yield Difference(plan.role.name, "unit", unit, expected, "absent", Remedy.ACCOUNT)


def _files(desired: Host, observed: Observed) -> Iterator[Difference]:
    # Not made anew: what is listed with them.
    missed = {item.name for item in missed_data(desired, observed)} - observed.files.keys()
    told = {*(backup_file(plan.role.name) for plan in (*desired.backups, *desired.proofs)), EXPORTER_PASSWORDS}
    refused = refused_switches(desired, observed)
    unbegun = {begun_file(instance.name) for instance in desired.instances if not has_begun(instance, observed)}
    for file in desired.files:
        if (observed.container and file.path in (SYSCTL_FILE, THP_FILE)) or file.path in (
            unbegun - observed.files.keys()
        ) | missed:
            continue
        unknown = file.content == "" and (file.path in told or has_all_users(desired, observed, file.path))
        file = _with_its_owner(file, desired, observed)
        for item in _file(file, observed.files.get(file.path), unknown):
            yield _without_asking(desired, observed, item, refused)
    for path in desired.absent:
        if path in observed.files:
            yield Difference(None, "file", path, "absent", "present", Remedy.REMOVE)
    for path, rule in desired.statoverrides.items():
        if observed.statoverrides.get(path) != rule:
            found = observed.statoverrides.get(path, "none")
            yield Difference(None, "file", path, f"dpkg-statoverride {rule}", found, Remedy.WRITE)


def _with_its_owner(file: File, desired: Host, observed: Observed) -> File:
    """A role's directory with whom it belongs to now."""
    for instance in desired.instances:
        if file.path == data_directory(instance.name):
            owner = data_user(instance, observed)
            return replace(file, owner=owner, group=owner)
    return file


def _without_asking(
    desired: Host, observed: Observed, item: Difference, refused: Mapping[str, RefusedSwitch]
) -> Difference:
    """A difference of a file that a person has to speak of: a new one would keep services out of the next start.

    An ACL file has what they log in with, a configuration how they are spoken to.
    """
    if item.name in refused:
        return replace(item, remedy=refused[item.name])
    for instance in desired.instances:
        if item.name == acl_file(instance.name) and item.observed == OTHER_CONTENT:
            others = keeps_other_passwords(instance, observed)
            if others:
                found = f"other passwords of {', '.join(others)}"
                return replace(item, observed=found, remedy=keep_password(instance))
    return item


def _file(file: File, state: FileState | None, unknown: bool) -> Iterator[Difference]:
    """`unknown`: nobody knows what should be in it."""
    kind = "directory" if file.content is None else "file"
    if file.content is None and state is not None and state.kind == "link" and file.path.startswith(DATA_ROOT):
        return  # what to do about it is listed: tasks/compare/data_files.py
    expected = f"{kind} {file.owner}:{file.group} {file.mode}"
    if state is None:
        yield Difference(file.role, "file", file.path, expected, "absent", Remedy.WRITE)
        return
    found = f"{state.kind} {state.owner}:{state.group} {state.mode}"
    if found != expected:
        yield Difference(file.role, "file", file.path, expected, found, Remedy.WRITE)
    other = file.content is not None and state.kind == "file" and state.content != file.observable
    if other and not unknown:
        yield Difference(file.role, "file", file.path, AS_RENDERED, _content(file, state), Remedy.WRITE)


def _content(file: File, state: FileState) -> str:
    """What is different in a file, by line; of a secret file only that it is."""
    if file.secret:
        return OTHER_CONTENT
    wanted, found = (file.content or "").splitlines(), state.content.splitlines()
    added = [f"has {_masked_line(line)!r}" for line in found if line not in wanted]
    lost = [f"lacks {line[:120]!r}" for line in wanted if line not in found]
    said = list(dict.fromkeys(added + lost))  # a rule stands in two chains
    shown = ", ".join(said[:4]) or "other order or blank lines"
    more = len(said) - 4
    return shown + (f" and {more} more lines" if more > 0 else "")


def _masked_line(line: str) -> str:
    """A line of a file as it may be shown: without what follows a directive that takes a password, and not endless."""
    word = line.split(maxsplit=1)[0].lower() if line.split() else ""
    return f"{word} …" if word in PASSWORD_DIRECTIVES else line[:120]


def _units(desired: Host, observed: Observed) -> Iterator[Difference]:
    for unit in desired.units:
        if unit.enabled == "masked":
            yield from _masked(unit, observed)
        elif unit.enabled == "absent":
            yield from _absent(unit, observed)
        else:
            yield from _enabled(unit, desired, observed)


def _masked(unit: Unit, observed: Observed) -> Iterator[Difference]:
    state = observed.unit(unit.name)
    if state["LoadState"] != "masked":
        found = state.get("UnitFileState") or state["LoadState"]
        yield Difference(None, "unit", unit.name, "masked", found, Remedy.MASK)
    elif state["ActiveState"] not in ("inactive", "failed"):
        yield Difference(None, "unit", unit.name, "inactive", state["ActiveState"], Remedy.MASK)


def _absent(unit: Unit, observed: Observed) -> Iterator[Difference]:
    state = observed.unit(unit.name)
    if state["LoadState"] != "not-found" or state["ActiveState"] != "inactive":
        yield Difference(None, "unit", unit.name, "absent", state["ActiveState"], Remedy.DISABLE)


def _enabled(unit: Unit, desired: Host, observed: Observed) -> Iterator[Difference]:
    state = observed.unit(unit.name)
    enabled = state.get("UnitFileState") or state["LoadState"]
    if enabled != "enabled":
        yield Difference(unit.role, "unit", unit.name, "enabled", enabled, Remedy.ENABLE)
    if state.get("NeedDaemonReload") == "yes":
        yield Difference(unit.role, "unit", unit.name, "loaded as on disk", "changed on disk", Remedy.RELOAD)
    if unit.digest and state["ActiveState"] == "active" and observed.started.get(unit.name) != unit.digest:
        expected, found = "started from the unit as it is", "started before it changed"
        anew = Remedy.AFRESH if unit.name == METRICS_UNIT else Remedy.LEAD
        yield Difference(unit.role, "unit", unit.name, expected, found, anew)
    drop_ins = [path for path in _foreign_drop_ins(state) if path not in _of_moves(unit)]
    if drop_ins:
        remedy = ByHand(f"remove it, or bring what it says into templates/{_template(unit)}")
        yield Difference(unit.role, "unit", unit.name, "no drop-in", ", ".join(drop_ins), remedy)
    elif unit.role is not None:
        yield from _descriptors(unit, state, desired)
    # One whose process runs and is not ready loads its data, or is being stopped: that is for unknown.py to say.
    if state["ActiveState"] != "active" and (observed.pid(unit.name) == 0 or _keeps_failing(unit, observed)):
        found = state["ActiveState"]
        if state.get("NRestarts", "0") != "0":
            found += f" ({state.get('Result')}, {state['NRestarts']} restarts)"
        yield Difference(unit.role, "unit", unit.name, "active", found, Remedy.START)


def _template(unit: Unit) -> str:
    return "metrics.service.j2" if unit.name == METRICS_UNIT else "redis.service.j2"


def _descriptors(unit: Unit, state: Mapping[str, str], desired: Host) -> Iterator[Difference]:
    """A drop-in for every service, the host's own business, that lets Redis open fewer files than its clients need."""
    wanted = next((item.descriptors for item in desired.instances if item.unit == unit.name), 0)
    granted, by = state.get("LimitNOFILE", "infinity"), state.get("DropInPaths", "")
    if by and granted != "infinity" and int(granted) < wanted:
        remedy = ByHand("let that drop-in leave LimitNOFILE out, or raise it there")
        found = f"LimitNOFILE={granted}, by {by}"
        yield Difference(unit.role, "unit", unit.name, f"LimitNOFILE={wanted}", found, remedy)


def _keeps_failing(unit: Unit, observed: Observed) -> bool:
    """Whether systemd was seen in the middle of one more try: a server that loads its data listens from the first."""
    state, pid = observed.unit(unit.name), observed.pid(unit.name)
    listens = "listeners" in observed.unseen or any(item.is_of(pid) for item in observed.listeners)
    return state["ActiveState"] == "activating" and state.get("NRestarts", "0") != "0" and not listens


def _of_moves(unit: Unit) -> tuple[str, ...]:
    """The drop-ins of a role's unit that are this tool's own, while the role moves."""
    return () if unit.role is None else (copy_drop_in(unit.role), handed_over_drop_in(unit.role))


def _foreign_drop_ins(state: Mapping[str, str]) -> list[str]:
    """Drop-ins for this unit or for units of its name's prefix; service.d, every service, is the host's business."""
    paths = filter(None, state.get("DropInPaths", "").split(" "))
    return [path for path in paths if not path.rpartition("/")[0].endswith("/service.d")]


def _user_namespaces(desired: Host, observed: Observed) -> Iterator[Difference]:
    """Every instance has a user namespace of its own: without, the running ones go on and none of them starts again."""
    needed = len(desired.instances)
    now = observed.sysctls.get(USER_NAMESPACES, "")
    at_boot, path = observed.boot_sysctls.get(USER_NAMESPACES, ("", ""))
    for value, when, by in ((now, "", ""), (at_boot, " at boot", f", by {path}")):
        if value.isdigit() and int(value) < needed:
            remedy = ByHand(f"remove the line from {path}" if path else "find what sets it, and set it higher")
            expected = f"at least {needed}{when}, for the next start of its instances"
            yield Difference(None, "kernel", USER_NAMESPACES, expected, f"{value}{when}{by}", remedy)


def _kernel(desired: Host, observed: Observed) -> Iterator[Difference]:
    if observed.container:
        return
    for name, value in desired.sysctls.items():
        found = observed.sysctls.get(name, "not known to this kernel")
        if found != value:
            yield Difference(None, "kernel", name, value, found, Remedy.LIVE)
    if observed.thp and desired.thp and f"[{desired.thp}]" not in observed.thp:
        yield Difference(None, "kernel", "transparent_hugepage", desired.thp, observed.thp, Remedy.LIVE)
    yield from _kernel_at_boot(desired, observed)


def _kernel_at_boot(desired: Host, observed: Observed) -> Iterator[Difference]:
    """Another file that would undo at the next boot what ours sets; ours itself is compared as a file."""
    for name, value in desired.sysctls.items():
        found, path = observed.boot_sysctls.get(name, (value, ""))
        if found != value and path != SYSCTL_FILE:
            remedy = ByHand(f"remove the line from {path}")
            yield Difference(None, "kernel", name, f"{value} at boot", f"{found} at boot, by {path}", remedy)
    for path, found in sorted(observed.boot_thp.items()):
        if found != desired.thp and path != THP_FILE:
            remedy = ByHand(f"remove the line from {path}")
            expected = f"{desired.thp} at boot"
            yield Difference(None, "kernel", "transparent_hugepage", expected, f"{found} at boot, by {path}", remedy)


def _restarts_for_upgrade(desired: Host, observed: Observed) -> Iterator[Difference]:
    """Another version of the server costs a restart of every running instance: say so with the upgrade itself."""
    wanted, installed = desired.packages.get("redis-tools"), observed.packages.get("redis-tools")
    if wanted is None or installed is None or wanted == installed:
        return
    for instance in desired.instances:
        if observed.is_active(instance.unit):
            yield Difference(instance.name, "instance", "version", wanted, installed, Remedy.RESTART)
