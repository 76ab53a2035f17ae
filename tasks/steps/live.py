"""Change running instances without a restart: settings by CONFIG SET, users by ACL SETUSER and DELUSER.

Not ACL LOAD: Redis 7.0 cuts every client then. Not CONFIG Remedy.REWRITE: it writes over the managed file.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pyinfra import logger
from pyinfra.api.host import Host
from pyinfra.api.state import State

from tasks.catalogue.acl_rules import OPERATOR
from tasks.compare.certificates import FILES, SERVED
from tasks.compare.difference import Difference, Remedy
from tasks.compare.server import wanted_settings
from tasks.desired.host import Instance, Passwords, User
from tasks.observed.bounds import PATIENCE
from tasks.observed.refusal import Refusal
from tasks.observed.state import Server
from tasks.steps.gate import is_busy, wait_until_calm
from tasks.steps.replay import CLOSE_DEFAULT, ENABLE_REPLAY, send


def live_commands(
    instance: Instance, differences: Sequence[Difference], wanted: Mapping[str, str]
) -> list[tuple[str, ...]]:
    """The commands that make a running instance as desired: one atomic CONFIG SET, then one per ACL user. Pure.

    `wanted`: directive → value, of the role or the version's default.
    """
    settings = _in_order(differences, wanted)
    users = {user.name: user for user in instance.users}
    commands: list[tuple[str, ...]] = []
    if settings:
        pairs = [text for name in settings for text in (name, wanted[name])]
        commands.append(("CONFIG", "SET", *pairs))
    if "requirepass" in settings:
        # Setting it to "" gives `default` nopass: protected mode would then turn away every client.
        commands += [*CLOSE_DEFAULT, ENABLE_REPLAY]
    for item in differences:
        if item.subject == "acl" and item.remedy == Remedy.LIVE:
            commands.append(_user_command(item.name, users.get(item.name)))
    return commands


def _in_order(differences: Sequence[Difference], wanted: Mapping[str, str]) -> list[str]:
    """The directives to set, in the order in which Redis closes and opens ports: one that moves is closed first."""
    found = {item.name: item.observed for item in differences if item.subject == "setting"}
    names = [name for name in found if name != SERVED]
    if SERVED in found or any(name in FILES for name in names):
        names = [*(name for name in names if name not in FILES), *FILES]
    for name, other in (("port", "tls-port"), ("tls-port", "port")):
        if name in names and found[name] == wanted.get(other) != "0":
            names = [name, *(item for item in names if item != name)]
    return names


def _user_command(name: str, user: User | None) -> tuple[str, ...]:
    if user is None:
        return ("ACL", "DELUSER", name)
    # One command, one step for the server: nobody who is logged in notices, whichever password goes or comes.
    hashes = (f"#{item}" for item in user.passwords_sha256)
    return ("ACL", "SETUSER", name, "reset", "on", *hashes, *user.rules.split())


def change_live(
    state: State,
    host: Host,
    changes: Mapping[Instance, Sequence[Difference]],
    servers: Mapping[str, Server],
    passwords: Passwords,
) -> bool:
    """The running instances are as desired; on the first refusal nothing of that instance's files is written."""
    problems = [
        f"{instance.name}: {problem}"
        for instance, differences in changes.items()
        for problem in _change(host, instance, servers[instance.name], differences, passwords)
    ]
    for problem in problems:
        host.log_styled(problem, fg="red", log_func=logger.error)
    return not problems


def _change(
    host: Host, instance: Instance, server: Server, differences: Sequence[Difference], passwords: Passwords
) -> list[str]:
    password = passwords[instance.name].get(OPERATOR) or ""
    aside, anew = (any(item.remedy == remedy for item in differences) for remedy in (Remedy.ASIDE, Remedy.REWRITE))
    # A log that is switched on is written anew by that.
    switched = any(item.subject == "setting" and item.name == "appendonly" for item in differences)
    anew = anew and not is_busy(server.info) and not switched
    commands = live_commands(instance, differences, wanted_settings(instance, server))
    if aside:
        # The log ends here: until a snapshot has everything, the next start must still load it.
        commands.append(("BGSAVE", "SCHEDULE"))
    if anew:
        commands.append(("BGREWRITEAOF",))
    refused = send(host, instance, server, password, commands)
    data_moves = {
        item.name for item in differences if item.remedy in (Remedy.ASIDE, Remedy.REWRITE) or item.name == "appendonly"
    }
    if refused or not data_moves:
        return refused
    return _wait_for_data(host, instance, password, "rdb_last_bgsave_status" if aside else "aof_last_bgrewrite_status")


def _wait_for_data(host: Host, instance: Instance, password: str, status: str) -> list[str]:
    """The data is where the file will tell the next start to look for it: only now may the file say so (redis #12484).

    The first rewrite after `appendonly yes`, or the first save after `appendonly no`, has ended, and ended well.
    """
    info = wait_until_calm(host, instance, password)
    if isinstance(info, Refusal):
        return [f"appendonly: the server stopped to answer while its data was written: {info}"]
    if is_busy(info):
        return [f"appendonly: the data was not written within {PATIENCE:.0f} s: wait for it and deploy again"]
    found = info.get(status)
    return [] if found == "ok" else [f"appendonly: {status} is {found}, expected ok: free disk space and memory"]
