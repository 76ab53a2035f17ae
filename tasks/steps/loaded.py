"""What an instance that has been started said while it loaded its data, and what follows from it."""

from __future__ import annotations

import time
from collections.abc import Sequence

from pyinfra.api.host import Host
from pyinfra.api.state import State

from tasks.catalogue.acl_rules import OPERATOR
from tasks.catalogue.roles import Role
from tasks.compare.loading import bytes_cut, cut_tails, faults_of, is_cut_only, load_faults
from tasks.desired.host import Instance, Passwords
from tasks.desired.paths import manifest_file
from tasks.observed.bounds import JOURNAL_PATIENCE
from tasks.observed.connection import run_command
from tasks.observed.journal import Said, reaches_end_of_loading, said_since_start
from tasks.observed.own_server import Endpoint
from tasks.observed.refusal import Refusal
from tasks.steps.gate import POLL, read_info, write_log_anew


def said_while_loading(
    state: State, host: Host, instance: Instance, passwords: Passwords, where: Endpoint | None = None
) -> list[str]:
    """The lines of its journal that tell of writes the instance skipped or cut off when it started."""
    password = passwords[instance.name].get(OPERATOR) or ""
    info = read_info(host, instance, password, where)
    said = _said(state, host, instance, serves=not isinstance(info, Refusal))
    return load_faults(said) if isinstance(info, Refusal) else faults_of(said, info)


def _said(state: State, host: Host, instance: Instance, serves: bool) -> Said:
    """What its journal has of its start. A server may serve before journald has written what it said."""
    began = time.monotonic()
    while True:
        said = said_since_start(state, host, [instance.unit]).get(instance.unit, ())
        if not serves or load_faults(said) or reaches_end_of_loading(said):
            return said
        if time.monotonic() > began + JOURNAL_PATIENCE:
            text = f"{instance.name}: its journal does not tell of its start: what it said while loading is not known"
            host.log_styled(text, fg="yellow")
            return said
        time.sleep(POLL)


def after_a_cut(state: State, host: Host, instance: Instance, passwords: Passwords, faults: Sequence[str]) -> list[str]:
    """What was cut off the log, in words; and no half transaction is at its end any more.

    Redis cuts after the last whole command, which may stand between a MULTI and the EXEC that was cut: whatever is
    written from then on would be a part of that transaction, and dropped with it by the next start.
    """
    cuts = cut_tails(faults)
    if not cuts:
        return []
    password = passwords[instance.name].get(OPERATOR) or ""
    info = read_info(host, instance, password)
    sizes = run_command(state, host, sizes_script(instance.role)).stdout.split()
    lost = 0 if isinstance(info, Refusal) else bytes_cut(info, [int(size) for size in sizes if size.isdecimal()])
    words = [*cuts, *([f"{lost} bytes or more are gone"] if lost else [])]
    if not is_cut_only(faults) or isinstance(info, Refusal):
        return words
    problems = write_log_anew(host, instance, password)
    return [*words, *(problems or ["its log was written anew, so that what comes now follows no cut transaction"])]


def sizes_script(role: Role) -> str:
    """Shell that prints the bytes of each file of a role's log that is loaded. Pure."""
    name = role.appendfilename
    names = " -o ".join(f"-name '{pattern}'" for pattern in (name, f"{name}.*.base.*", f"{name}.*.incr.aof"))
    return f"find {manifest_file(role).rpartition('/')[0]} -maxdepth 1 -type f \\( {names} \\) -printf '%s\\n'"


def words_for(faults: Sequence[str], problems: Sequence[str], way: str = "README, Writes that a start skipped") -> str:
    """What is wrong with a start that has not loaded all of its data, and what to do: the `way`."""
    more = f" (and {len(faults) - 1} more such lines in its journal)" if len(faults) > 1 else ""
    found = "; ".join(problems) or "it runs and serves"
    return (
        f"has not loaded all of its data, it said: {faults[0]!r}{more}; {found}; not rolled back, which would load the "
        f"same, and no other is restarted: {way}"
    )
