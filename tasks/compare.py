"""Compare desired with observed state: the one list of differences that every other part acts on or reports.

Pure. Values are compared by meaning (tasks/values.py). A consequence is not listed beside its cause: an instance
that does not run has one difference, not one for each of its settings.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from tasks.acl import Categories, allowed, patterns
from tasks.desired import (
    INNER_PORT_UNIT,
    OPERATOR,
    PACKAGED_UNIT,
    SYSCTL_FILE,
    THP_FILE,
    UNITS,
    File,
    Host,
    Instance,
    Unit,
    User,
)
from tasks.observed import FileState, Observed, Server
from tasks.values import MEMORY, RESTART_ONLY, canonical, show_memory

Subject = Literal[
    "package", "file", "unit", "kernel", "address", "listener", "setting", "acl", "instance", "persistence"
]

# Remedies: what the deploy does about a difference. BY_HAND needs a person; the text after it says what to do.
INSTALL = "install"
WRITE = "write"
REMOVE = "remove"
MASK = "mask"
ENABLE = "enable"
DISABLE = "stop and disable"
RELOAD = "reload systemd"
START = "start"
LIVE = "set live"
RESTART = "restart"
LEAD = "load the inner port's rules"
BY_HAND = "by hand: "

RUNNING_BINARIES = ("/usr/bin/redis-check-rdb", "/usr/bin/redis-server")


@dataclass(frozen=True, order=True)
class Difference:
    """One thing that is not as it should be; passwords and their hashes never appear in it."""

    role: str | None
    subject: Subject
    name: str
    expected: str
    observed: str
    remedy: str

    def __str__(self) -> str:
        where = f"{self.role}: " if self.role else ""
        return f"{where}{self.subject} {self.name}: {self.observed} → {self.expected} ({self.remedy})"


def compare(desired: Host, observed: Observed) -> list[Difference]:
    """Every difference between the two, sorted; empty when the host is as it should be."""
    found = [
        *_packages(desired, observed),
        *_files(desired, observed),
        *_units(desired, observed),
        *_kernel(desired, observed),
        *_addresses(desired, observed),
        *_listeners(desired, observed),
        *(difference for instance in desired.instances for difference in _instance(instance, observed)),
        *_restarts_for_upgrade(desired, observed),
    ]
    return sorted(found, key=lambda item: (item.role or "", item.subject, item.name, item.expected))


def kernel_notices(desired: Host, observed: Observed) -> list[str]:
    """What the kernel should say but this host, a container, may not change; for the report only."""
    if not observed.container:
        return []
    wrong = [
        f"{name} is {observed.sysctls[name]}, wanted {value}"
        for name, value in desired.sysctls.items()
        if name in observed.sysctls and observed.sysctls[name] != value
    ]
    if observed.thp and f"[{desired.thp}]" not in observed.thp:
        wrong.append(f"transparent huge pages are {observed.thp}, wanted {desired.thp}")
    return [f"{item}: the kernel belongs to the {observed.container} host, set it there" for item in wrong]


def _packages(desired: Host, observed: Observed) -> Iterator[Difference]:
    for name, version in desired.packages.items():
        installed = observed.packages.get(name)
        if installed is None or (version is not None and installed != version):
            yield Difference(None, "package", name, version or "installed", installed or "not installed", INSTALL)


def _files(desired: Host, observed: Observed) -> Iterator[Difference]:
    for file in desired.files:
        if observed.container and file.path in (SYSCTL_FILE, THP_FILE):
            continue
        yield from _file(file, observed.files.get(file.path))
    for path in desired.absent:
        if path in observed.files:
            yield Difference(None, "file", path, "absent", "present", REMOVE)
    for path, rule in desired.statoverrides.items():
        if observed.statoverrides.get(path) != rule:
            found = observed.statoverrides.get(path, "none")
            yield Difference(None, "file", path, f"dpkg-statoverride {rule}", found, WRITE)


def _file(file: File, state: FileState | None) -> Iterator[Difference]:
    kind = "directory" if file.content is None else "file"
    expected = f"{kind} {file.owner}:{file.group} {file.mode}"
    if state is None:
        yield Difference(file.role, "file", file.path, expected, "absent", WRITE)
        return
    found = f"{state.kind} {state.owner}:{state.group} {state.mode}"
    if found != expected:
        yield Difference(file.role, "file", file.path, expected, found, WRITE)
    if file.content is not None and state.kind == "file" and state.content != file.content:
        yield Difference(file.role, "file", file.path, "content as rendered", _content(file, state), WRITE)


def _content(file: File, state: FileState) -> str:
    """What is different in a file, by line; of a secret file only that it is."""
    if file.secret:
        return "other content"
    wanted, found = (file.content or "").splitlines(), state.content.splitlines()
    added = [f"+{line}" for line in found if line not in wanted]
    lost = [f"-{line}" for line in wanted if line not in found]
    shown = "; ".join((added + lost)[:4]) or "other order or blank lines"
    more = len(added) + len(lost) - 4
    return shown + (f" and {more} more lines" if more > 0 else "")


def _units(desired: Host, observed: Observed) -> Iterator[Difference]:
    for unit in desired.units:
        if unit.enabled == "masked":
            yield from _masked(unit, observed)
        elif unit.enabled == "absent":
            yield from _absent(unit, observed)
        else:
            yield from _enabled(unit, observed)


def _masked(unit: Unit, observed: Observed) -> Iterator[Difference]:
    state = observed.unit(unit.name)
    if state["LoadState"] != "masked":
        found = state.get("UnitFileState") or state["LoadState"]
        yield Difference(None, "unit", unit.name, "masked", found, MASK)
    elif state["ActiveState"] not in ("inactive", "failed"):
        yield Difference(None, "unit", unit.name, "inactive", state["ActiveState"], MASK)


def _absent(unit: Unit, observed: Observed) -> Iterator[Difference]:
    state = observed.unit(unit.name)
    if state["LoadState"] != "not-found" or state["ActiveState"] != "inactive":
        yield Difference(None, "unit", unit.name, "absent", state["ActiveState"], DISABLE)


def _enabled(unit: Unit, observed: Observed) -> Iterator[Difference]:
    state = observed.unit(unit.name)
    enabled = state.get("UnitFileState") or state["LoadState"]
    if enabled != "enabled":
        yield Difference(unit.role, "unit", unit.name, "enabled", enabled, ENABLE)
    if state.get("NeedDaemonReload") == "yes":
        yield Difference(unit.role, "unit", unit.name, "loaded as on disk", "changed on disk", RELOAD)
    drop_ins = _foreign_drop_ins(unit, state)
    if drop_ins:
        remedy = f"{BY_HAND}remove it, or bring what it says into templates/redis.service.j2"
        yield Difference(unit.role, "unit", unit.name, "no drop-in", ", ".join(drop_ins), remedy)
    if state["ActiveState"] != "active":
        found = state["ActiveState"]
        if state.get("NRestarts", "0") != "0":
            found += f" ({state.get('Result')}, {state['NRestarts']} restarts)"
        yield Difference(unit.role, "unit", unit.name, "active", found, START)


def _foreign_drop_ins(unit: Unit, state: Mapping[str, str]) -> list[str]:
    """Drop-ins somebody made for this very unit; those for every service (service.d) are the host's business."""
    return [path for path in state.get("DropInPaths", "").split() if f"/{unit.name}.d/" in path]


def _kernel(desired: Host, observed: Observed) -> Iterator[Difference]:
    if observed.container:
        return
    for name, value in desired.sysctls.items():
        found = observed.sysctls.get(name, "not known to this kernel")
        if found != value:
            yield Difference(None, "kernel", name, value, found, LIVE)
    if observed.thp and f"[{desired.thp}]" not in observed.thp:
        yield Difference(None, "kernel", "transparent_hugepage", desired.thp, observed.thp, LIVE)


def _addresses(desired: Host, observed: Observed) -> Iterator[Difference]:
    for role in desired.roles:
        if str(role.address) not in observed.addresses:
            remedy = f"{BY_HAND}give the host this address, or correct it in group_data/roles.yaml"
            yield Difference(role.name, "address", str(role.address), "on this host", "absent", remedy)


def _listeners(desired: Host, observed: Observed) -> Iterator[Difference]:
    pids = {observed.pid(instance.unit): instance for instance in desired.instances}
    pids.pop(0, None)
    for instance in desired.instances:
        yield from _own_listeners(instance, observed)
    for listener in observed.listeners:
        if listener.process.startswith("redis-") and listener.pid not in pids:
            where = f"{listener.address}:{listener.port}"
            remedy = f"{BY_HAND}stop that process, it belongs to no role"
            yield Difference(
                None, "listener", where, "no other Redis", f"{listener.process}, pid {listener.pid}", remedy
            )
    yield from _inner_ports(desired, observed)


def _own_listeners(instance: Instance, observed: Observed) -> Iterator[Difference]:
    pid = observed.pid(instance.unit)
    if observed.unit(instance.unit)["ActiveState"] != "active" or not pid:
        return
    config = observed.servers.get(instance.name, Server()).config
    if any(config.get(name, value) != value for name, value in instance.settings.items() if name in ("bind", "port")):
        return  # its cause, the setting, is listed
    wanted = f"{instance.address}:{instance.role.port}"
    found = {f"{item.address}:{item.port}" for item in observed.listeners if item.pid == pid}
    if wanted not in found:
        yield Difference(instance.name, "listener", wanted, "listens", "does not listen", RESTART)
    for other in sorted(found - {wanted}):
        yield Difference(instance.name, "listener", other, "not listened on", "listens", RESTART)


def _inner_ports(desired: Host, observed: Observed) -> Iterator[Difference]:
    wanted = {
        (chain, item.address, item.inner_port, f"{item.address}:{item.port}")
        for item in desired.forwards
        for chain in ("prerouting", "output")
    }
    if INNER_PORT_UNIT not in observed.units and not wanted:
        return
    role_of = {(item.address, item.inner_port): item.role for item in desired.forwards}
    for address, port in sorted({(rule[1], rule[2]) for rule in wanted ^ observed.forwards}):
        expected = sorted({rule[3] for rule in wanted if rule[1:3] == (address, port)})
        found = sorted(f"{rule[0]} to {rule[3]}" for rule in observed.forwards if rule[1:3] == (address, port))
        yield Difference(
            role_of.get((address, port)),
            "listener",
            f"{address}:{port}" if port else address,
            f"led to {', '.join(expected)}" if expected else "not led anywhere",
            ", ".join(found) or "not led anywhere",
            LEAD,
        )


def _instance(instance: Instance, observed: Observed) -> Iterator[Difference]:
    server = observed.servers.get(instance.name)
    if server is None:
        return
    yield from _process(instance, observed)
    if server.refusal is not None:
        loading = server.refusal.startswith("LOADING")
        remedy = f"{BY_HAND}wait until it has loaded its data" if loading else RESTART
        yield Difference(instance.name, "instance", OPERATOR, "answers", server.refusal, remedy)
        return
    yield from _settings(instance, server)
    yield from _users(instance, server)
    yield from _persistence(instance, server)


def _process(instance: Instance, observed: Observed) -> Iterator[Difference]:
    process = observed.processes.get(observed.pid(instance.unit))
    if process is None:
        return
    if process.executable not in RUNNING_BINARIES:
        yield Difference(instance.name, "instance", "binary", "the installed redis-server", process.executable, RESTART)
    if observed.started.get(instance.unit) != instance.unit_digest:
        yield Difference(
            instance.name,
            "instance",
            "unit",
            "started from the unit as it is",
            "started before it changed",
            RESTART,
        )


def _restarts_for_upgrade(desired: Host, observed: Observed) -> Iterator[Difference]:
    """Another version of the server costs a restart of every running instance: say so with the upgrade itself."""
    wanted, installed = desired.packages["redis-tools"], observed.packages.get("redis-tools")
    if wanted is None or installed is None or wanted == installed:
        return
    for instance in desired.instances:
        if observed.is_active(instance.unit):
            yield Difference(instance.name, "instance", "version", wanted, installed, RESTART)


def _settings(instance: Instance, server: Server) -> Iterator[Difference]:
    for name, wanted in instance.settings.items():
        if name not in server.config:
            remedy = f"{BY_HAND}remove {name.replace('-', '_')} from group_data/roles.yaml"
            yield Difference(instance.name, "setting", name, wanted, "unknown to this version", remedy)
            continue
        found = canonical(name, server.config[name])
        if found != canonical(name, wanted):
            remedy = RESTART if name in RESTART_ONLY else LIVE
            yield Difference(instance.name, "setting", name, _show(name, wanted), _show(name, found), remedy)


def _show(name: str, value: str) -> str:
    if name in MEMORY and value.isdigit():
        return show_memory(int(value))
    return value or '""'


def _users(instance: Instance, server: Server) -> Iterator[Difference]:
    wanted = {user.name: user for user in instance.users}
    default = server.users.get("default", {})
    if "off" not in _words(default.get("flags")):
        yield Difference(instance.name, "acl", "default", "off", "on", LIVE)
    for name in sorted(set(server.users) - set(wanted) - {"default"}):
        yield Difference(instance.name, "acl", name, "no such user", "a user", LIVE)
    for name, user in sorted(wanted.items()):
        problem = _user(user, server.users.get(name), server.categories)
        if problem:
            yield Difference(instance.name, "acl", name, f"on, {user.rules}", problem, LIVE)


def _user(user: User, found: Mapping[str, object] | None, categories: Categories) -> str | None:
    """In words, how a user in the server differs from the wanted one; None when it does not."""
    if found is None:
        return "no such user"
    flags = _words(found.get("flags"))
    rules = " ".join(str(found.get(part) or "") for part in ("keys", "channels", "commands"))
    selectors = _words(found.get("selectors"))
    same = allowed(rules, categories) == allowed(user.rules, categories) and patterns(rules) == patterns(user.rules)
    problems = [
        "off" if "on" not in flags else "",
        "needs no password" if "nopass" in flags else "",
        "has another password"
        if user.password_sha256 and _words(found.get("passwords")) != [user.password_sha256]
        else "",
        "" if same else f"may {rules}",
        f"has {len(selectors)} selectors" if selectors else "",
    ]
    return ", ".join(filter(None, problems)) or None


def _words(value: object) -> list[str]:
    return [str(item) for item in value] if isinstance(value, list) else []


def _persistence(instance: Instance, server: Server) -> Iterator[Difference]:
    if server.info.get("loading") == "1" or instance.settings["appendonly"] == "no":
        return
    checks = {
        "aof_last_write_status": "free disk space and look at the journal of the unit",
        "aof_last_bgrewrite_status": "free disk space and memory, then BGREWRITEAOF",
    }
    for name, what in checks.items():
        if server.info.get(name, "ok") != "ok":
            yield Difference(instance.name, "persistence", name, "ok", server.info[name], f"{BY_HAND}{what}")


def chosen(differences: Iterable[Difference], *subjects: Subject, remedy: str | None = None) -> list[Difference]:
    """The differences of these subjects, and of this remedy when one is given."""
    return [item for item in differences if item.subject in subjects and (remedy is None or item.remedy == remedy)]


__all__ = ["PACKAGED_UNIT", "UNITS", "Difference", "chosen", "compare", "kernel_notices"]
