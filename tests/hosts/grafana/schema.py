"""Read a dashboard by the classes that Grafana generates of its schema, and print what they do not know or take.

`PYTHONPATH=… python schema.py <dashboard.json`: a line each; nothing when all of it is of the schema.
"""

import enum
import json
import sys
import types
import typing
from collections.abc import Iterable, Iterator
from typing import Any

from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models import dashboard


def unknown(given: Any, kept: Any, where: str) -> Iterator[str]:
    """What was given and is not there any more when it was read and written again."""
    if isinstance(given, dict) and isinstance(kept, dict):
        for name, value in given.items():
            if name not in kept:
                yield f"{where}.{name}: the schema has no such field"
            else:
                yield from unknown(value, kept[name], f"{where}.{name}")
    elif isinstance(given, list) and isinstance(kept, list) and len(given) == len(kept):
        for place, (one, other) in enumerate(zip(given, kept, strict=True)):
            yield from unknown(one, other, f"{where}[{place}]")
    elif given != kept:
        yield f"{where}: {given!r} was read as {kept!r}"


def misfits(value: Any, hint: Any, where: str) -> Iterator[str]:
    """Where a value is not of the type that its class says."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if hint in (Any, object):
        yield from fields(value, where) if is_generated(value) else ()
    elif origin in (typing.Union, types.UnionType):
        yield from one_of(value, arguments, where)
    elif origin in (list, dict):
        yield from each_of(value, origin, arguments[-1], where)
    elif isinstance(value, dict) and hasattr(hint, "from_json"):  # which its reader has left as it was
        read = hint.from_json(value)
        yield from unknown(value, json.loads(json.dumps(read, cls=JSONEncoder)), where)
        yield from fields(read, where)
    elif is_generated(value) and not isinstance(value, enum.Enum):
        yield from fields(value, where) if isinstance(value, hint) else [f"{where}: no {hint.__name__}"]
    else:
        yield from simple(value, hint, where)


def one_of(value: Any, hints: tuple[Any, ...], where: str) -> Iterator[str]:
    """What is wrong is told by the alternative whose class the value has, else by the one that finds least."""
    own = [hint for hint in hints if type(value) is hint]
    found = [list(misfits(value, hint, where)) for hint in own or hints if value is None or hint is not type(None)]
    yield from min(found, key=len)


def each_of(value: Any, kind: type, hint: Any, where: str) -> Iterator[str]:
    """Of a list or an object, what is wrong with its parts."""
    if not isinstance(value, kind):
        yield f"{where}: {value!r} is no {kind.__name__}"
        return
    parts: Iterable[tuple[Any, Any]] = value.items() if isinstance(value, dict) else enumerate(value)  # type: ignore[arg-type]
    for name, item in parts:
        yield from misfits(item, hint, f"{where}[{name}]")


def simple(value: Any, hint: Any, where: str) -> Iterator[str]:
    """Of a word or a number."""
    allowed: Any = typing.get_args(hint) if typing.get_origin(hint) is typing.Literal else None
    if allowed is None and isinstance(hint, type) and issubclass(hint, enum.Enum):
        allowed = [item.value for item in hint]
    if allowed is not None:
        if value not in allowed:
            yield f"{where}: {value!r}, expected one of {allowed}"
    elif not isinstance(value, (int, float) if hint is float else hint) or (type(value) is bool and hint is not bool):
        yield f"{where}: {value!r} is no {hint.__name__}"


def is_generated(value: Any) -> bool:
    """Whether its class is one of the schema's."""
    return type(value).__module__.startswith("grafana_foundation_sdk")


def fields(value: Any, where: str) -> Iterator[str]:
    """The same of each field of an object."""
    for name, hint in typing.get_type_hints(type(value)).items():
        yield from misfits(getattr(value, name), hint, f"{where}.{name}")


def main() -> int:
    register_default_plugins()
    given = json.load(sys.stdin)
    read = dashboard.Dashboard.from_json(given)
    written = json.loads(json.dumps(read, cls=JSONEncoder))
    problems = [*unknown(given, written, "dashboard"), *fields(read, "dashboard")]
    print("\n".join(problems), end="")
    return 1 if problems else 0


if __name__ == "__main__":
    raise SystemExit(main())
