"""What a server has counted since its start, by its INFO: errors by kind, and whom it let in. Pure."""

from __future__ import annotations

from collections.abc import Mapping


def refused_logins(info: Mapping[str, str]) -> dict[str, int]:
    """Why strangers were refused → how often since the server's start (or CONFIG RESETSTAT); `info`: its INFO.

    `no_login` counts commands before any login, which a check of somebody's that only sends PING makes all day long: it
    is a metric, and nothing that alarms. Where failed logins have a counter of their own (acl_access_denied_auth, not
    in 7.0), what is more counts: newer versions give up counting errors by kind when scripts make too many of them.
    """
    wrong = max(errors(info, "WRONGPASS"), int(info.get("acl_access_denied_auth") or 0))
    return {"wrong_password": wrong, "no_login": errors(info, "NOAUTH")}


def errors(info: Mapping[str, str], kind: str) -> int:
    """How often clients got an error of this kind: `errorstat_OOM:count=3`."""
    return int(info.get(f"errorstat_{kind}", "count=0").removeprefix("count="))


def hours_up(info: Mapping[str, str]) -> float:
    """For how long a server has counted; the first hour counts as a whole one, so that one event is no rate."""
    return max(1.0, int(info.get("uptime_in_seconds") or 0) / 3600)


def are_many(info: Mapping[str, str], limit: float) -> bool:
    """Whether so many wrong passwords an hour were refused that it matters whose they were."""
    return refused_logins(info)["wrong_password"] >= limit * hours_up(info)
