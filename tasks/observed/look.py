"""Observe one host: one remote command for the host, one pipelined exchange per running instance."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial

from pyinfra.api import FactBase, StringCommand
from pyinfra.api.exceptions import FactProcessError
from pyinfra.api.host import Host as PyinfraHost
from pyinfra.api.state import State

from tasks.catalogue.acl_rules import DEFAULT_LINE, OPERATOR, categories_in
from tasks.desired.host import Host, Instance, Passwords
from tasks.desired.paths import CONFIG_DIRECTORY, DATA_ROOT, LOCK_FILE, data_directory, marker_file
from tasks.observed.connection import CannotRun, begin, read_fact
from tasks.observed.exchange import ExchangeError, Reply, ReplyError, exchange, info_fields
from tasks.observed.foreign import with_foreign
from tasks.observed.journal import has_reason, reaches_start, said_since_start
from tasks.observed.leftover import with_leftovers
from tasks.observed.reader import MARK, PACKAGES, decode, parse_snapshot
from tasks.observed.refusal import Cause, Refusal, refusal
from tasks.observed.state import Observed, Server

UNIT_PROPERTIES = (
    "Id,LoadState,ActiveState,SubState,UnitFileState,MainPID,NeedDaemonReload,NRestarts,Result,DropInPaths,"
    "ExecMainStartTimestamp"
)

# Every process costs the host a millisecond: grep and find read for many parts at once, the shell for none (its read
# takes files in /proc/sys byte by byte, and they answer the first one only).
SCRIPT = r"""
LC_ALL=C PATH=/usr/sbin:/usr/bin:/sbin:/bin; export LC_ALL PATH
{
echo '@@ facts'; [ -d /run/systemd/system ] && echo systemd=yes
echo '@@ packages'
# dpkg-query would parse the whole database. Version is at most thirteen lines below Package (dpkg: lib/dpkg/parse.c);
# updates holds what a dpkg that was interrupted had done, oldest first.
grep -shE -A13 '^Package: ({packages})$' /var/lib/dpkg/status /var/lib/dpkg/updates/*
echo '@@ candidate'
# Without the two options apt-cache would write its cache files: a dry run writes nothing.
[ -x /usr/bin/redis-server ] || apt-cache -o Dir::Cache::pkgcache= -o Dir::Cache::srcpkgcache= policy redis-server
echo '@@ disk'
if [ -d {root} ]; then df -Pk {root}; else df -Pk /var/lib; fi
echo '@@ listeners'; ss -Hltnp
echo '@@ units'
# By their names on disk, not by a pattern: matching one costs systemd more than all the rest.
units=' {units} '
for file in /etc/systemd/system/redis-*.service; do
  case $units in *" ${file##*/} "*) ;; *) units="$units${file##*/} ";; esac
done
units=$(systemctl show --timestamp=unix --property={properties} $units 2>/dev/null); echo "$units"
binaries=
for line in $units; do
  case $line in
    MainPID=0) ;;
    MainPID=*) pid=${line#MainPID=}; binaries="$binaries /proc/$pid/exe";;
  esac
done
# -H: each line behind its file's name, also where only one file exists. UTF-8: of a file that is none, grep leaves out
# the lines that are no text. What is no regular file is not waited for. What is secret does not leave the host.
echo '@@ texts'
LC_ALL=C.UTF-8 grep -sH -d skip -D skip '' /etc/os-release /run/systemd/container /proc/net/fib_trie {sysctls} \
  /sys/kernel/mm/transparent_hugepage/enabled /run/credentials/redis-*.service/unit-digest \
  /var/lib/dpkg/statoverride {lock} {texts}
echo '@@ digests'; sha256sum /dev/null {secrets} 2>/dev/null
echo '@@ users'; grep -sHoE '^[[:space:]]*user[[:space:]]+[^[:space:]]+' /dev/null {secrets}  # names, no hashes
echo '@@ replayable'; grep -lsxF '{default_line}' /dev/null {secrets}
echo '@@ matches'
grep -RsHE -e '^(MemTotal|Uid):' -e '^[^#;]*({sysctl_names})[[:space:]]*=' \
  -e '^[^#].*/transparent_hugepage/enabled' -e '{mark}' -e '^(bind|port) ' /proc/meminfo /proc/self/status \
  /etc/sysctl.d /run/sysctl.d /usr/local/lib/sysctl.d /usr/lib/sysctl.d \
  /etc/tmpfiles.d /run/tmpfiles.d /usr/lib/tmpfiles.d /etc/systemd/system/redis-*.service /etc/redis/*.conf
echo '@@ found'  # all that lies in data directories, of roles of other hosts too, and other paths themselves
directories=
for directory in {root}/*/; do
  directory=${directory%/}
  case ${directory##*/} in *[!a-z0-9_-]*) continue;; esac
  case ' {files} ' in *" $directory "*) ;; *) directories="$directories $directory";; esac
done
find {files} $binaries $directories ! -path '{root}/*' -prune , \
  -printf '%y %d %s %b %D:%i %u %g %m %T@ %H %p\t%l\n' 2>/dev/null
echo '@@ forwards'; [ -x /usr/sbin/nft ] && nft -st list ruleset ip 2>/dev/null
echo '@@ end'
# As one line: four hundred would cost pyinfra more than everything else it does with them. And nothing that lies in a
# file is in plain words in the output that pyinfra's --debug shows.
} | base64 -w0; echo
"""


class HostSnapshot(FactBase[Observed | None]):
    """Everything of one host that the desired state speaks of, in one command that changes nothing.

    Does not say whether a server answers: see `observe_server`. Needs root. Raises FactProcessError when cut off.
    """

    @staticmethod
    def default() -> None:
        return None

    def command(
        self, files: Sequence[str], secrets: Sequence[str], units: Sequence[str], sysctls: Sequence[str]
    ) -> StringCommand:
        words = {
            "root": DATA_ROOT,
            "lock": LOCK_FILE,
            "sysctls": " ".join(f"/proc/sys/{name.replace('.', '/')}" for name in sysctls),
            "mark": MARK,
            "default_line": DEFAULT_LINE,
            "packages": "|".join(PACKAGES),
            "sysctl_names": "|".join(name.replace(".", "[./]") for name in sysctls) or "none",
            "properties": UNIT_PROPERTIES,
            "units": " ".join(map(shlex.quote, units)),
            "files": " ".join(map(shlex.quote, [*files, *secrets])),
            "texts": " ".join(map(shlex.quote, files)),
            "secrets": " ".join(map(shlex.quote, secrets)),
        }
        script = SCRIPT
        for name, text in words.items():
            script = script.replace("{" + name + "}", text)
        return StringCommand(script)

    def process(self, output: Iterable[str]) -> Observed:
        try:
            return parse_snapshot(decode(output))
        except (ValueError, KeyError, IndexError) as error:
            raise FactProcessError(f"snapshot of the host is not readable: {error}") from error


class Unobserved(Exception):
    """The host could not be read; the message says why."""


def observe(state: State, host: PyinfraHost, desired: Host, passwords: Passwords) -> Observed:
    """The state of `host`, its running instances asked as `operator`. Raises Unobserved when it cannot be read."""
    snapshot = with_foreign(state, host, desired, _snapshot(state, host, desired), passwords)
    snapshot = with_leftovers(host, desired, snapshot, passwords)
    running = [instance for instance in desired.instances if snapshot.is_active(instance.unit)]
    known = {instance.name: passwords[instance.name].get(OPERATOR) for instance in running}
    jobs = {
        item.name: begin(partial(observe_server, host, item, endpoint(item, snapshot), known[item.name]))
        for item in running
    }
    servers = {name: job.result() for name, job in jobs.items()}
    return replace(snapshot, servers=with_journals(state, host, desired.instances, servers))


def with_journals(
    state: State, host: PyinfraHost, instances: Sequence[Instance], servers: Mapping[str, Server]
) -> dict[str, Server]:
    """The servers, with what those said while they started whose counters give a reason to ask."""
    asked = {item.name: item.unit for item in instances if item.name in servers and has_reason(servers[item.name].info)}
    said = said_since_start(state, host, list(asked.values())) if asked else {}
    return {
        name: replace(server, said=said.get(asked[name], ()), said_from_start=reaches_start(said.get(asked[name], ())))
        if name in asked
        else server
        for name, server in servers.items()
    }


def _snapshot(state: State, host: PyinfraHost, desired: Host) -> Observed:
    roles = [role.name for role in desired.roles]
    secrets = {file.path for file in desired.files if file.secret}
    own = {*(file.path for file in desired.files), *desired.absent, CONFIG_DIRECTORY, *map(marker_file, roles)}
    arguments = {
        "files": sorted(own.union(map(data_directory, (*roles, *desired.requests.purge))) - secrets),
        "secrets": sorted(secrets),
        "units": [unit.name for unit in desired.units],
        "sysctls": list(desired.sysctls),
    }
    try:
        snapshot = read_fact(state, host, HostSnapshot, arguments)
    except CannotRun as error:
        raise Unobserved(str(error)) from error
    if snapshot is None:
        raise Unobserved("the snapshot failed, see above: a user other than root needs _sudo = True")
    return snapshot


def endpoint(instance: Instance, snapshot: Observed) -> tuple[str, int] | None:
    """Where a running instance is spoken to: as desired, or where it still listens before a change.

    None where its own process was not seen to listen: whoever answers there may be anybody, and gets no password.
    """
    wanted = (instance.address, instance.role.port)
    pid = snapshot.pid(instance.unit)
    found = sorted((item.address, item.port) for item in snapshot.listeners if item.pid == pid and "." in item.address)
    own = [(wanted[0] if address == "0.0.0.0" else address, port) for address, port in found]
    return wanted if wanted in own else own[0] if own else None


def observe_server(
    host: PyinfraHost, instance: Instance, where: tuple[str, int] | None, password: str | None
) -> Server:
    """What a running instance says of itself, in one exchange at `where`, its address and port."""
    if where is None:
        return Server(refusal=Refusal(Cause.NOT_ITS_OWN, "its own process was not seen to listen anywhere"))
    if password is None:
        return Server(refusal=Refusal(Cause.NO_PASSWORD, "its operator's password is not in the secrets file"))
    names = ["default", *(user.name for user in instance.users)]
    categories = categories_in(user.rules for user in instance.users)
    commands: list[tuple[str, ...]] = [
        ("AUTH", OPERATOR, password),
        ("CONFIG", "GET", "*"),
        ("INFO", "default", "commandstats"),
        ("ACL", "USERS"),
        *(("ACL", "CAT", name) for name in categories),
        *(("ACL", "GETUSER", name) for name in names),
    ]
    try:
        replies = exchange(host, *where, commands)
    except ExchangeError as error:
        return Server(refusal=error.refusal)
    return replace(read_server(categories, names, replies), endpoint=where)


def read_server(categories: Sequence[str], names: Sequence[str], replies: Sequence[Reply]) -> Server:
    """The replies to `observe_server`'s commands as a Server."""
    for reply in replies[:4]:
        if isinstance(reply, ReplyError):
            return Server(refusal=refusal(reply))
    _, config, info, users, *details = replies
    lists = dict(zip(categories, details, strict=False))
    described = dict(zip(names, details[len(categories) :], strict=True))
    return Server(
        config=_mapping(config),
        info=info_fields(info),
        categories={name: frozenset(map(str, _items(commands))) for name, commands in lists.items()},
        users={str(user): _mapping(described.get(str(user), [])) for user in _items(users)},
    )


def _items(reply: Reply) -> list[Reply]:
    return reply if isinstance(reply, list) else []


def _mapping(reply: Reply) -> dict[str, str]:
    items = _items(reply)
    return {str(key): value for key, value in zip(items[::2], items[1::2], strict=True)}  # type: ignore[misc]
