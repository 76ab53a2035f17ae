"""What an instance that has been started said while it loaded its data, and what follows from it."""

from __future__ import annotations

from collections.abc import Sequence

from pyinfra.api.host import Host
from pyinfra.api.state import State

from tasks.catalogue.acl_rules import OPERATOR
from tasks.compare.loading import credible, cut_tails, is_cut_only, load_faults
from tasks.desired.host import Instance, Passwords
from tasks.observed.journal import said_since_start
from tasks.observed.refusal import Refusal
from tasks.steps.gate import Before, Endpoint, read_info, write_log_anew


def said_while_loading(
    state: State, host: Host, instance: Instance, passwords: Passwords, where: Endpoint | None = None
) -> list[str]:
    """The lines of its journal that tell of writes the instance skipped or cut off when it started."""
    faults = load_faults(said_since_start(state, host, [instance.unit]).get(instance.unit, ()))
    if not faults:
        return []
    password = passwords[instance.name].get(OPERATOR) or ""
    info = read_info(host, where or (instance.address, instance.role.port), password)
    return faults if isinstance(info, Refusal) else credible(faults, info)


def after_a_cut(host: Host, instance: Instance, passwords: Passwords, faults: Sequence[str]) -> list[str]:
    """A log whose tail was cut holds no half transaction any more. Returns what was done, or why not, in words.

    Redis cuts after the last whole command, which may stand between a MULTI and the EXEC that was cut: whatever is
    written from then on would be a part of that transaction, and dropped with it by the next start.
    """
    if not is_cut_only(faults):
        return []
    problems = write_log_anew(host, instance, passwords[instance.name].get(OPERATOR) or "")
    return problems or ["its log was written anew, so that what comes now does not follow a cut transaction"]


def words_for(faults: Sequence[str], problems: Sequence[str], was: Before | None) -> str:
    """What is wrong with a start that has not loaded all of its data, and what to do."""
    more = f" (and {len(faults) - 1} more such lines in its journal)" if len(faults) > 1 else ""
    cut = "".join(f"; {text}" for text in cut_tails(faults, was.sizes if was else {}))
    found = "; ".join(problems) or "it runs and serves"
    return (
        f"has not loaded all of its data, it said: {faults[0]!r}{more}{cut}; {found}; not rolled back, which would "
        "load the same, and no other is restarted: README, Writes that a start skipped"
    )
