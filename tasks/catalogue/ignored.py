"""Redis servers beside the roles that an operator means to keep: host data `redis_ignore`, units or sockets. Pure."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator
from ipaddress import ip_address

from tasks.catalogue.roles import Role

NAME = "redis_ignore"
UNIT = r"[A-Za-z0-9][A-Za-z0-9:_.@\\-]*\.service"
PACKAGED = "redis-server.service"
FORM = "a list of units (redis-sentinel.service) or sockets (127.0.0.1:7000)"


def ignored(value: object) -> tuple[str, ...]:
    """The units and sockets in one host's data, each once; what is malformed names nothing."""
    items = value if isinstance(value, list | tuple) else ()
    return tuple(dict.fromkeys(item for item in items if isinstance(item, str) and (is_unit(item) or socket(item))))


def is_unit(text: str) -> bool:
    """Whether this is the name of a service."""
    return bool(re.fullmatch(UNIT, text))


def socket(text: str) -> tuple[str, int] | None:
    """Address and port of `127.0.0.1:7000` or `[::1]:7000`; None of anything else."""
    match = re.fullmatch(r"(?:\[([0-9a-fA-F:.]+)\]|([0-9.]+)):([0-9]{1,5})", text)
    if match is None or not 0 < int(match[3]) < 65536:
        return None
    try:
        return str(ip_address(match[1] or match[2])), int(match[3])
    except ValueError:
        return None


def ignore_problems(host: str, value: object, roles: Iterable[Role], units: Collection[str]) -> Iterator[str]:
    """What is wrong with one host's `redis_ignore`; `units` are those of the roles."""
    if value is None:
        return
    items = [item for item in value if isinstance(item, str)] if isinstance(value, list | tuple) else []
    if not isinstance(value, list | tuple) or len(items) != len(value):
        yield f"{host}: {NAME}: expected {FORM}, observed {value!r}"
        return
    own = {(str(role.address), port): role.name for role in roles for port in role.ports}
    for item in items:
        where = socket(item)
        if not is_unit(item) and where is None:
            yield f"{host}: {NAME}: {item!r}: expected {FORM}: correct it"
        elif item == PACKAGED or item in units or where in own:
            what = own.get(where or ("", 0), item)
            yield f"{host}: {NAME}: {item}: is {what}'s, which this tool keeps as the catalogue says: take it out"
