"""A handover whose old server is down: whether the copy was told to serve. Pure.

Its host went down amid it, or it died there, and what keeps it from its next start lies there. Only what cannot be
otherwise is taken for known: each of the two may have the writes that the other one lacks.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from tasks.catalogue.printable import printable


def may_have_served(info: Mapping[str, str] | None, noted: bool, old: tuple[str, int]) -> str:
    """In words, why a copy may have been told to serve; empty where it was not. `info`: None of one that does not run.

    `noted`: whether its host has noted that the role has run there. `old`: where the old server listened. A server that
    was told to serve follows nobody again but by a start or a command, and has never been linked then (`-1`): one that
    was linked to the old server, and follows it, was told nothing since.
    """
    if info is None:
        return "its server there does not run, and cannot be asked"
    if info.get("role") != "slave":
        return f"its server there says that it is {printable(info.get('role') or 'nothing')}, expected a follower"
    follows = f"{info.get('master_host')}:{info.get('master_port')}"
    if follows != f"{old[0]}:{old[1]}":
        return f"its server there follows {printable(follows)}, expected {old[0]}:{old[1]}"
    if noted:
        return "it is noted there that the role has run there"
    was_linked = re.fullmatch("[0-9]{1,18}", info.get("master_link_down_since_seconds", ""))
    if info.get("master_link_status") != "up" and not was_linked:
        return "its server there has not been linked to the old one since it was started, or told something"
    return ""


def has_served(old: Mapping[str, str], then: str, noted: bool, to: tuple[str, int]) -> str:
    """In words, by what a copy is known to have served since its handover, whatever it is now; empty where it is not.

    `old`: what the old server, which runs, says. `then`: its history when it was handed over, empty where that is not
    known. Who follows takes another history only from a server that serves, and only `to`, the copy, was it told to
    follow. `noted`: whether the copy's host has noted that the role has run there, which no copy does.
    """
    if old.get("role") != "slave" or f"{old.get('master_host')}:{old.get('master_port')}" != f"{to[0]}:{to[1]}":
        return ""
    if noted:
        return "it is noted there that the role has run there"
    known = all(re.fullmatch("[0-9a-f]{40}", text) for text in (then, old.get("master_replid", "")))
    return "the old server has followed its history since" if known and old["master_replid"] != then else ""
