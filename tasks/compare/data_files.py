"""Compare the files that a role's next start opens: whose they are, and what nobody but a person put there. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator

from tasks.catalogue.moments import in_utc
from tasks.compare.difference import ByHand, Difference, Remedy
from tasks.compare.planted import is_of_log
from tasks.compare.set_aside import lies_aside, set_aside
from tasks.desired.host import Host, Instance
from tasks.desired.paths import (
    DATA_ROOT,
    FAILED,
    NEW,
    OLD,
    REPLACED,
    begun_file,
    config_file,
    data_directory,
    loaded_file,
    log_directory,
    manifest_file,
    snapshot_file,
    unit_name,
)
from tasks.observed.state import FileState, Observed

# What the server makes (UMask=0077 of its unit), and what the conversions of this tool make.
MODES = {"file": ("0600", "0640"), "directory": ("0700", "0750")}
OWNERSHIP = "all {0}:{0}, files 0600 or 0640, directories 0700 or 0750"
ALL_ROLES = "redis"  # the user that versions before ran every role as


def ownership_differences(instance: Instance, observed: Observed) -> Iterator[Difference]:
    """Data that the role's next start could not open, or write on: of another owner than its user, or of other mode.

    A server that runs has its files open and says nothing about it.
    """
    directory, user = data_directory(instance.name), data_user(instance, observed)
    wrong = {
        path: f"{path.removeprefix(f'{directory}/')} is {state.owner}:{state.group} {state.mode}"
        for path, state in sorted(observed.stored.items())
        if _is_opened(instance, path) and not _is_own(state, user)
    }
    # Given to the role, the host's own file would be the role's, whatever it is.
    linked = [path for path in wrong if observed.stored[path].links > 1 and observed.stored[path].owner != user]
    if linked:
        advice = f"look which file of the host it is (find / -xdev -samefile {linked[0]}), then rm {linked[0]}"
        names = f"{wrong[linked[0]]} and has {observed.stored[linked[0]].links} names"
        yield Difference(instance.name, "persistence", linked[0], f"a file of {user}", names, ByHand(advice))
    given = [words for path, words in wrong.items() if path not in linked]
    if given:
        more = f" and {len(given) - 1} more" if len(given) > 1 else ""
        yield Difference(
            instance.name, "persistence", directory, OWNERSHIP.format(user), f"{given[0]}{more}", Remedy.OWN
        )


def data_user(instance: Instance, observed: Observed) -> str:
    """Whose a role's data is to be now.

    One that runs since before it had a user of its own runs as `redis`. Its next start gives its data to that user
    (StateDirectory= of its unit), and is due, for the unit is another; what writes on until then keeps what it has.
    """
    directory = observed.files.get(data_directory(instance.name))
    is_old = observed.pid(instance.unit) > 0 and observed.started.get(instance.unit) != instance.unit_digest
    return ALL_ROLES if is_old and directory is not None and directory.owner == ALL_ROLES else instance.user


def _is_opened(instance: Instance, path: str) -> bool:
    log = log_directory(instance.role)
    return path in (log, snapshot_file(instance.role)) or (path.rpartition("/")[0] == log and is_of_log(instance, path))


def _is_own(state: FileState, user: str) -> bool:
    if state.kind not in MODES:
        return True  # a link or socket is nobody's data
    return (state.owner, state.group) == (user, user) and state.mode in MODES[state.kind]


def storage_links(desired: Host, observed: Observed) -> Iterator[Difference]:
    """Storage behind a symbolic link: the unit's mount namespace has another place there, and root follows none."""
    if desired.roles and _is_link(observed.files.get(DATA_ROOT)):
        yield _link(None, DATA_ROOT, observed.files[DATA_ROOT].content)
    for instance in desired.instances:
        for path, states in (
            (data_directory(instance.name), observed.files),
            (log_directory(instance.role), observed.stored),
        ):
            if _is_link(states.get(path)):
                yield _link(instance.name, path, states[path].content)


def _is_link(state: FileState | None) -> bool:
    return state is not None and state.kind == "link"


def _link(role: str | None, path: str, target: str) -> Difference:
    stop = f"stop {unit_name(role)}" if role else "stop the roles' units"
    where = target if re.fullmatch("[A-Za-z0-9_./-]+", target) else "its target"  # a role may have made it
    advice = (
        f"mount it there instead, which keeps the data where it is: {stop}, rm {path} && mkdir {path}, add the line "
        f"'{where} {path} none bind 0 0' to /etc/fstab, mount {path}, deploy"
    )
    return Difference(role, "file", path, "a directory", f"a link to {where}", ByHand(advice))


def has_begun(instance: Instance, observed: Observed) -> bool:
    """Whether it is to be recorded that an instance has run here.

    One without a log may have none of its data on disk until it saves: its starts before that find nothing, and may.
    So may those of a standby, which has all from its primary.
    """
    begun = instance.role.appendonly or snapshot_file(instance.role) in observed.data_files
    return begun and not instance.is_standby


def lacks_data(instance: Instance, observed: Observed) -> bool:
    """Whether an instance that has run here, and does not now, would begin empty."""
    if observed.is_active(instance.unit) or instance.name in observed.adopting or instance.is_standby:
        return False
    return begun_file(instance.name) in observed.files and not pieces(instance.name, observed)


def gone_data(instance: Instance, observed: Observed) -> Iterator[Difference]:
    """The data of an instance that has run here is not where it was: a disk that is not mounted, most likely."""
    directory = data_directory(instance.name)
    if observed.is_active(instance.unit) and directory not in observed.files:
        advice = "mount its disk again, or bring the directory back by its name; do not restart it before"
        yield Difference(instance.name, "persistence", directory, "its data, for it runs", "gone", ByHand(advice))
    if lacks_data(instance, observed):
        found = "gone" if directory not in observed.files else f"gone, {_left(directory, observed)}"
        way = (
            f"or restore {loaded_file(instance.role)} (README, Data that is gone); to begin without it: --data "
            f"begin_empty={instance.name}"
        )
        way = _held_there(instance) or way
        advice = f"{_replaced_last(instance, observed)}mount its disk (findmnt {directory}), {way}"
        yield Difference(
            instance.name, "persistence", directory, "its data, for it has run here", found, ByHand(advice)
        )


def _held_there(instance: Instance) -> str:
    """How a role goes on whose data the other host of its pair has, in words; empty where none has."""
    if not instance.held_there:
        return ""
    return (
        f"and deploy; begin with nothing else beside it, for {instance.held_there}, and would copy what this one "
        f"begins with: where this data is lost, that one is to serve, by promote={instance.name} (docs/runbook.md, "
        "Nobody serves a role)"
    )


def _replaced_last(instance: Instance, observed: Observed) -> str:
    """What a restore put aside last, in words: one whose host died amid it has left nothing in its place."""
    commands = put_back_commands(instance, observed)
    if not commands:
        return ""
    return f"if its host went down amid a restore, give what that had put aside its name again ({commands}); else "


def put_back_commands(instance: Instance, observed: Observed) -> str:
    """What gives the data that a restore or a move put aside last its name again; empty where there is none."""
    log, snapshot = log_directory(instance.role), snapshot_file(instance.role)
    found = [path for path in set_aside(instance, observed).paths if REPLACED in path and not path.endswith(FAILED)]
    if not found:
        return ""
    stamp = max(path.rpartition(REPLACED)[2] for path in found)
    names = [f"mv -T {path}{REPLACED}{stamp} {path}" for path in (log, snapshot) if f"{path}{REPLACED}{stamp}" in found]
    return "; ".join(names)


def pieces(role: str, observed: Observed) -> list[str]:
    """Files with data in the directory of a role, whether the host carries it or not: of snapshots and logs.

    Whatever their names; not what a server or a conversion left half-done, nor a log that was put aside.
    """
    inside = f"{data_directory(role)}/"
    return [path for path in observed.data_files if path.startswith(inside) and _is_data(path)]


def _is_data(path: str) -> bool:
    unfinished = "/temp-" in path or f"{NEW}/" in path or lies_aside(path)
    return path.endswith((".rdb", ".aof", ".manifest")) and not unfinished


def snapshot_is_meant(instance: Instance, observed: Observed) -> bool:
    """Whether the log of a stopped role is to be made of its snapshot, all the data that it has.

    A role that has run here with a log has one: where it is not seen, its disk is not mounted or it was lost, and the
    snapshot may be older by any time. It is meant where nothing has run here, where the role had no log until now,
    where somebody put the log aside since it was stopped, or gives up what it had.
    """
    if begun_file(instance.name) not in observed.files or instance.accepts_loss:
        return True
    config = observed.files.get(config_file(instance.name))
    if config is not None and "appendonly no" in config.content.splitlines():
        return True
    aside = observed.stored.get(log_directory(instance.role) + OLD)
    # One that an earlier deploy put aside stays there for ever; a renamed directory was changed when it was renamed.
    return aside is not None and 0 < observed.time(instance.unit, "InactiveEnterTimestamp") <= aside.changed


def lost_manifest(instance: Instance, observed: Observed) -> Iterator[Difference]:
    """A log that no start would load: the file that names its parts is not there, or its directory has another name.

    A snapshot beside it may be older by any time. Only one that lies alone is made a log by the deploy, where that is
    meant.
    """
    role, directory = instance.role, data_directory(instance.name)
    if not role.appendonly or observed.is_active(instance.unit) or instance.name in observed.adopting:
        return
    if instance.is_standby:
        return  # what it cannot begin with is set aside
    found = sorted(path.removeprefix(f"{directory}/") for path in pieces(instance.name, observed))
    if manifest_file(role) in observed.data_files or not found:
        return
    if found == [role.dbfilename]:
        if not snapshot_is_meant(instance, observed):
            yield _lost_log(instance, observed)
        return
    advice = (
        f"a start would begin empty: keep a copy first (cp -a {directory} /root/{instance.name}-data), then give "
        f"the log's directory its name {role.appenddirname} again, bring the manifest back, or write it anew (README, "
        "A damaged log)"
    )
    shown = f"absent, and there is {', '.join(found[:3])}"
    yield Difference(instance.name, "persistence", manifest_file(role), "on disk", shown, ByHand(advice))


def _lost_log(instance: Instance, observed: Observed) -> Difference:
    """Of a role that has run here with a log, a snapshot is all that was seen."""
    log, path = log_directory(instance.role), snapshot_file(instance.role)
    file = observed.stored.get(path)
    age = f" of {in_utc(file.modified)}" if file is not None else ""
    found = f"gone, and {path}{age} ({observed.data_files[path]} bytes) is all there is"
    way = (
        f"or restore {log} (README, Data that is gone); to begin with the snapshot, without what was written since: "
        f"--data accept_loss={instance.name}"
    )
    advice = f"mount its disk (findmnt {log}), {_held_there(instance) or way}"
    return Difference(instance.name, "persistence", log, "its log, for it has run here", found, ByHand(advice))


AHEAD = 1  # seconds that a file's time may be ahead of the server's clock: since Linux 6.13 only files have a fine one
SAVED = 60  # seconds before a server's last save, or its end, in which the file of that save was written


def strange_snapshot(instance: Instance, observed: Observed) -> Iterator[Difference]:
    """A dump.rdb that somebody put there: the log is loaded, not it, and the server's next save overwrites it."""
    path, unit = snapshot_file(instance.role), instance.unit
    file, server = observed.stored.get(path), observed.servers.get(instance.name)
    if file is None or file.kind != "file" or instance.name in observed.adopting:
        return
    if instance.is_standby:
        return  # what came over the network lies under this name
    ended = observed.time(unit, "InactiveEnterTimestamp")
    if server is not None and server.refusal is None:
        saved = int(server.info.get("rdb_last_save_time", "0"))
        if not saved or any(server.info.get(name, "0") != "0" for name in ("loading", "rdb_bgsave_in_progress")):
            return
        put = file.changed > saved or (
            _is_beside_a_log(instance, observed, ended)
            and file.changed <= observed.time(unit, "ExecMainStartTimestamp")
        )
        what = f"which saved last, or started, {in_utc(saved)}"
    else:
        put = not observed.is_active(unit) and _is_beside_a_log(instance, observed, ended)
        saved, what = ended, f"which ended {in_utc(ended)}"
    if put and not -AHEAD <= saved - file.modified <= SAVED:
        shown = f"put there {in_utc(file.changed)}, with data of {in_utc(file.modified)}"
        yield Difference(
            instance.name,
            "persistence",
            path,
            f"written by the server, {what}",
            shown,
            ByHand(
                f"move it out of {data_directory(instance.name)}, for the next save overwrites it; to go back to it: "
                "README, Things to know beforehand"
            ),
        )


def _is_beside_a_log(instance: Instance, observed: Observed, ended: int) -> bool:
    """Whether a stopped role's snapshot was put beside a log that is older: one that was made from it is not."""
    role = instance.role
    file, manifest = observed.stored[snapshot_file(role)], observed.stored.get(manifest_file(role))
    return role.appendonly and manifest is not None and manifest.changed < file.changed and 0 < ended < file.changed


def _left(directory: str, observed: Observed) -> str:
    names = sorted(path.removeprefix(f"{directory}/") for path in observed.stored)
    return f"only {', '.join(names[:3])} is there" if names else "the directory is empty"
