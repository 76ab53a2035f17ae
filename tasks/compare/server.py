"""Compare one running instance with its desired state: its process, settings, users and persistence. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

import yaml

from tasks.catalogue.acl_rules import DEFAULT, DEFAULT_RULES, OPERATOR, Categories, meaning, patterns
from tasks.catalogue.directives import canonical, directive
from tasks.compare.certificates import SPEAKS, switch_refusal
from tasks.compare.data_files import (
    ALL_ROLES,
    data_user,
    gone_data,
    lost_manifest,
    ownership_differences,
    pieces,
    snapshot_is_meant,
    strange_snapshot,
)
from tasks.compare.databases import are_fewer
from tasks.compare.difference import ByHand, Difference, Remedy
from tasks.compare.loading import END_OF_LOG, cut_tail, load_faults, skipped
from tasks.compare.passwords import may_replace, other_password, what_to_do
from tasks.compare.unknown import is_difference
from tasks.desired.host import Instance, User
from tasks.desired.paths import manifest_file, snapshot_file
from tasks.desired.rendering import process_part
from tasks.observed.refusal import Cause, Refusal
from tasks.observed.state import Observed, Server

RUNNING_BINARIES = ("/usr/bin/redis-check-rdb", "/usr/bin/redis-server")


def server_differences(instance: Instance, observed: Observed) -> Iterator[Difference]:
    """Every difference of a running instance, or of the data of one that does not run."""
    server = observed.servers.get(instance.name)
    yield from ownership_differences(instance, observed)
    yield from strange_snapshot(instance, observed)
    yield from gone_data(instance, observed)
    if not observed.is_active(instance.unit):
        yield from lost_manifest(instance, observed)
        yield from _data_at_rest(instance, observed)
    if server is None or observed.unit(instance.unit)["ActiveState"] != "active":
        return
    yield from _process(instance, observed)
    if server.refusal is not None:
        if is_difference(instance, server.refusal):
            yield _seen_in_the_refusal(instance, server.refusal)
        return  # what could not be seen is no difference: tasks/compare/unknown.py
    yield from _settings(instance, server, observed)
    yield from _users(instance, server, observed)
    yield from _persistence(instance, server)
    yield from _skipped(instance, server)
    yield from _cut_tail(instance, server)
    yield from _log_of_more_databases(instance, server)
    yield from _manifest(instance, server, observed)


def _seen_in_the_refusal(instance: Instance, refusal: Refusal) -> Difference:
    """What is wrong with a server that turns its operator away; it loads the ACL file when it starts."""
    if refusal.cause is Cause.DENIED:
        found = f"open to everybody: {refusal}"
        return Difference(instance.name, "acl", DEFAULT, f"off, {DEFAULT_RULES}", found, Remedy.RESTART)
    found = "another password, which nobody here knows"
    return Difference(instance.name, "acl", OPERATOR, "the password of the secrets file", found, Remedy.RESTART)


def _process(instance: Instance, observed: Observed) -> Iterator[Difference]:
    binary = observed.binaries.get(observed.pid(instance.unit))
    if binary is None:
        return
    if binary not in RUNNING_BINARIES:
        yield Difference(instance.name, "instance", "binary", "the installed redis-server", binary, Remedy.RESTART)
    if data_user(instance, observed) != instance.user:
        found = f"{ALL_ROLES}, the one of all roles"
        yield Difference(instance.name, "instance", "user", f"{instance.user}, its own", found, Remedy.RESTART)
    elif observed.started.get(instance.unit) != instance.unit_digest:
        yield Difference(
            instance.name,
            "instance",
            "unit",
            "started from the unit as it is",
            "started before it changed",
            Remedy.RESTART,
        )
    elif _lacks_descriptors(instance, observed):
        yield _open_files(instance, observed)
    elif _started_from_an_edited_file(instance, observed):
        yield Difference(instance.name, "instance", "unit", "started as rendered", "started as edited", Remedy.RESTART)


def _lacks_descriptors(instance: Instance, observed: Observed) -> bool:
    """Whether the process was started from the unit as it is, and yet may open fewer files than its clients need."""
    needed = instance.needed_descriptors
    allowed = observed.descriptors.get(observed.pid(instance.unit), needed)
    return allowed < needed and observed.started.get(instance.unit) == instance.unit_digest


def _open_files(instance: Instance, observed: Observed) -> Difference:
    """A restart cures it when nothing lowers the limit any more: neither a drop-in nor what a container may grant."""
    needed, found = instance.needed_descriptors, observed.descriptors[observed.pid(instance.unit)]
    granted, most = observed.unit(instance.unit).get("LimitNOFILE", "infinity"), observed.descriptors.get(1, needed)
    remedy: Remedy | ByHand = Remedy.RESTART
    if granted != "infinity" and int(granted) < needed:
        remedy = ByHand("mend the drop-in that lowers LimitNOFILE, which is listed, then deploy")
    elif most < needed:
        remedy = ByHand(f"let the host grant more than the {most} of its first process, or lower maxclients")
    return Difference(instance.name, "instance", "open files", f"{needed} or more", str(found), remedy)


def _started_from_an_edited_file(instance: Instance, observed: Observed) -> bool:
    """Whether the process began after somebody edited the unit file; an edit leaves the digest in it as it was."""
    state, file = observed.unit(instance.unit), observed.files.get(instance.unit_file)
    if file is None or file.kind != "file" or process_part(file.content) == process_part(instance.unit_text):
        return False
    started = observed.time(instance.unit, "ExecMainStartTimestamp")
    return state.get("NeedDaemonReload") != "yes" and started >= file.modified > 0


DEFAULTS_FILE = Path(__file__).parent / "redis_defaults.yaml"


@cache
def defaults(version: str) -> Mapping[str, str]:
    """Directive → default, for `major.minor` of Redis; empty for a version nobody has read them off."""
    known: dict[str, dict[str, str]] = yaml.load(DEFAULTS_FILE.read_text(encoding="utf-8"), Loader=yaml.CSafeLoader)
    return known["common"] | known[version] if version in known else {}


def wanted_settings(instance: Instance, server: Server) -> dict[str, str]:
    """Every directive of a running instance: what its role sets, and for the rest its version's defaults.

    A standby has beside those what makes it one. A log that still has writes which the start skipped is not rewritten
    of its own accord: they would be gone.
    """
    version = ".".join(server.info.get("redis_version", "").split(".")[:2])
    kept = {"auto-aof-rewrite-percentage": "0"} if keeps_log(instance, server) else {}
    return {**defaults(version), **instance.settings, **instance.following, **kept}


def keeps_log(instance: Instance, server: Server) -> bool:
    """Whether nothing may rewrite or leave the instance's log, for what a start skipped stands nowhere else."""
    # Where nobody can say any more whether it skipped anything, what a deploy switched off tells that it did.
    not_known = not server.said_from_start and server.config.get("auto-aof-rewrite-percentage") == "0"
    return (bool(skipped(server)) or not_known) and not instance.accepts_loss


GET_BACK_FIRST = ByHand("get back what its start skipped first, or give it up by accept_loss: its log is the only copy")


def _settings(instance: Instance, server: Server, observed: Observed) -> Iterator[Difference]:
    # More clients than the process may have descriptors need the unit's new limit first; where a drop-in lowers it, or
    # did when the process started, that is the cause and listed.
    few = "maxclients" if _lacks_descriptors(instance, observed) else ""
    switch = switch_refusal(instance, server.config, observed)
    with_unit = ("maxclients",) if observed.started.get(instance.unit) != instance.unit_digest else ()
    for name, wanted in wanted_settings(instance, server).items():
        if name not in server.config:
            if name in instance.settings:
                advice = ByHand(f"remove {name.replace('-', '_')} from group_data/roles.yaml")
                yield Difference(instance.name, "setting", name, wanted, "unknown to this version", advice)
            continue
        found = canonical(name, server.config[name])
        if found != canonical(name, wanted) and name != few:
            known = directive(name)
            how = Remedy.LIVE if known.live and name not in with_unit else Remedy.RESTART
            kept = name == "appendonly" and keeps_log(instance, server)
            remedy = GET_BACK_FIRST if kept else (switch or how) if name in SPEAKS else how
            yield Difference(instance.name, "setting", name, known.form.show(wanted), known.form.show(found), remedy)


def _users(instance: Instance, server: Server, observed: Observed) -> Iterator[Difference]:
    wanted = {user.name: user for user in instance.users}
    if wrong := _default(server):
        yield Difference(instance.name, "acl", DEFAULT, f"off, {DEFAULT_RULES}", wrong, Remedy.REPLAY)
    for name in sorted(set(server.users) - set(wanted) - {DEFAULT}):
        yield Difference(instance.name, "acl", name, "no such user", "a user", Remedy.LIVE)
    for name, user in sorted(wanted.items()):
        problem = _user(user, server.users.get(name), server.categories, instance.new_passwords)
        if problem:
            found = server.users.get(name, {})
            kept = other_password(user, found) and not may_replace(instance, user, found, observed)
            remedy = what_to_do(instance, problem) if name in server.users and kept else Remedy.LIVE
            yield Difference(instance.name, "acl", name, f"on, {user.rules}", problem, remedy)


def _default(server: Server) -> str:
    """In words, how the user that replays the log differs from one with every right and no way in; empty if not."""
    found = server.users.get(DEFAULT, {})
    flags = _words(found.get("flags"))
    problems = [
        "" if "off" in flags else "on",
        "needs no password" if "nopass" in flags else "",
        "has a password" if _words(found.get("passwords")) else "",
        _other_rules(found, DEFAULT_RULES, server.categories),
    ]
    return ", ".join(filter(None, problems))


def _other_rules(found: Mapping[str, object], wanted: str, categories: Categories) -> str:
    """In words, what a user may do when that is not what the rules `wanted` say; empty when it is."""
    rules = " ".join(str(found.get(part) or "") for part in ("keys", "channels", "commands"))
    selectors = _words(found.get("selectors"))
    same = meaning(rules, categories) == meaning(wanted, categories) and patterns(rules) == patterns(wanted)
    problems = ["" if same else f"may {rules.strip()}", f"has {len(selectors)} selectors" if selectors else ""]
    return ", ".join(filter(None, problems))


def _user(user: User, found: Mapping[str, object] | None, categories: Categories, replaced: bool = False) -> str | None:
    """In words, how a user in the server differs from the wanted one; None when it does not."""
    if found is None:
        return "no such user"
    flags = _words(found.get("flags"))
    problems = [
        "off" if "on" not in flags else "",
        "needs no password" if "nopass" in flags else "",
        other_password(user, found, replaced),
        _other_rules(found, user.rules, categories),
    ]
    return ", ".join(filter(None, problems)) or None


def _words(value: object) -> list[str]:
    return [str(item) for item in value] if isinstance(value, list) else []


def _persistence(instance: Instance, server: Server) -> Iterator[Difference]:
    if server.info.get("loading") == "1":
        return
    checks = {
        "aof_last_write_status": "free disk space and look at the journal of the unit",
        "aof_last_bgrewrite_status": "free disk space and memory, then BGREWRITEAOF",
        "rdb_last_bgsave_status": "free disk space and memory, then BGSAVE",
    }
    for name, what in checks.items():
        if server.info.get(name, "ok") != "ok":
            kept = name == "aof_last_bgrewrite_status" and keeps_log(instance, server)
            remedy = GET_BACK_FIRST if kept else ByHand(what)
            yield Difference(instance.name, "persistence", name, "ok", server.info[name], remedy)


def _skipped(instance: Instance, server: Server) -> Iterator[Difference]:
    """Writes that clients had acknowledged and a start has left out; the log has them until it is rewritten."""
    count = skipped(server)
    if count:
        line = next(iter(load_faults(server.said)), "see the journal of its unit")
        found = f"{count} commands were skipped when it started, and are still in its log: {line}"
        advice = (
            "look first what is in it, on a copy (README, Writes that a start skipped); a restart by hand replays them "
            f"all, before what was written since; to give them up: --data accept_loss={instance.name}"
        )
        remedy = Remedy.REWRITE if instance.accepts_loss else ByHand(advice)
        yield Difference(instance.name, "persistence", "replay", "every write of its log", found, remedy)


def _cut_tail(instance: Instance, server: Server) -> Iterator[Difference]:
    """A log whose end a start has cut off: what was written behind the cut may be nothing to the next start."""
    line = cut_tail(server)
    if line:
        found = f"cut off when it started, and the next start may lose what was written since: {line}"
        remedy = GET_BACK_FIRST if keeps_log(instance, server) else Remedy.REWRITE
        yield Difference(instance.name, "persistence", END_OF_LOG, "as it was written", found, remedy)


def _log_of_more_databases(instance: Instance, server: Server) -> Iterator[Difference]:
    """A log that may select databases which the next start will not have; a new one selects only those with keys."""
    if are_fewer(instance, server) and server.info.get("aof_enabled") == "1" and not keeps_log(instance, server):
        wanted, found = instance.role.databases, server.config["databases"]
        where = f"no database beyond the {wanted}", f"may select any of {found}"
        yield Difference(instance.name, "persistence", "databases in the log", *where, Remedy.REWRITE)


def _manifest(instance: Instance, server: Server, observed: Observed) -> Iterator[Difference]:
    """Without its manifest the next start begins empty, whatever the running server holds (redis-facts §2)."""
    role, manifest = instance.role, manifest_file(instance.role)
    name = f"{role.appenddirname}/{role.appendfilename}.manifest"
    if server.info.get("loading") == "1":
        return
    kept = GET_BACK_FIRST if keeps_log(instance, server) else None
    if manifest in observed.data_files and not role.appendonly:
        yield Difference(instance.name, "persistence", name, "put aside", "on disk", kept or Remedy.ASIDE)
    if role.appendonly and server.config.get("appendonly") == "yes" and manifest not in observed.data_files:
        # The server has it all in memory, and may be about to write its first log: a deploy that was killed began it.
        yield Difference(instance.name, "persistence", name, "on disk", "absent", kept or Remedy.REWRITE)


def _data_at_rest(instance: Instance, observed: Observed) -> Iterator[Difference]:
    """A stopped instance whose data is not in the form that its configuration loads: it would begin empty."""
    role = instance.role
    if instance.name in observed.adopting or instance.is_standby:
        return  # what lies there may be a part of it: the adoption is listed; a standby gets all from its primary
    log, snapshot = (path in observed.data_files for path in (manifest_file(role), snapshot_file(role)))
    name = f"{role.appenddirname}/{role.appendfilename}.manifest"
    alone = snapshot and not log and pieces(instance.name, observed) == [snapshot_file(role)]
    if role.appendonly and alone and snapshot_is_meant(instance, observed):
        found = f"absent, and the data is in {role.dbfilename}"
        yield Difference(instance.name, "persistence", name, "on disk", found, Remedy.TO_LOG)
    if not role.appendonly and log:
        yield Difference(
            instance.name, "persistence", role.dbfilename, "has the data", "the log has it", Remedy.TO_SNAPSHOT
        )
