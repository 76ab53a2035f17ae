"""Production's catalogue, group_data/roles.yaml: what the platform asked for, and why each number is what it is.

The one test that reads it. All others stand on tests/fixtures, so that a change of it shows here and nowhere else.
"""

import re
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

import pytest

from tasks.catalogue.roles import Role, build_roles, read_catalogue, same_endpoint
from tests.golden import rights
from tests.tree import REPOSITORY
from tests.tree import ROLES as ROLES_FILE
from tests.unit.builders import roles

TEXT = (REPOSITORY / ROLES_FILE).read_text()
MB = 1 << 20
OF_EVERY_ROLE = {"inner_port": 6379, "appendonly": True}
OURS = ("address", "port", "maxmemory")  # columns of the platform's own table: they are the requirement
IF_IT_IS_MEANT = (
    "not as the platform asked for: undo it in group_data/roles.yaml; or, if the platform's owner means it, write the "
    "same into ASKED_FOR (tests/unit/catalogue/test_roles_file.py) and the table of README.md"
)

# The platform's table, word for word: a role is added, removed or changed here when the platform asks for it.
ASKED_FOR: dict[str, dict[str, Any]] = {
    "gateway": {
        "address": "172.28.2.1",
        "port": 6379,
        "maxmemory": 256 * MB,
        "maxmemory_policy": "allkeys-lru",
        "services": ("gateway", "auth-service"),
        "stores": ("user sessions", "rate-limit counters", "API-key cache", "auth tokens"),
        "reason": "both services must see the same sessions: what auth-service writes, gateway reads at once",
    },
    "socket": {
        "address": "172.28.2.2",
        "port": 6380,
        "maxmemory": 512 * MB,
        "maxmemory_policy": "volatile-lru",
        "services": ("socket-service-1", "socket-service-2"),
        "stores": ("socket→user map", "presence", "typing", "room membership", "message buffers"),
        "reason": "high volume, short-lived; only keys with a TTL may be evicted",
    },
    "shared": {
        "address": "172.28.2.3",
        "port": 6381,
        "maxmemory": 512 * MB,
        "maxmemory_policy": "allkeys-lru",
        "services": (
            "gateway",
            "socket-service-1",
            "socket-service-2",
            "messaging-service",
            "media-service",
            "search-service",
        ),
        "stores": ("conversation metadata", "profiles", "unread counts", "last seen", "query results"),
        "reason": "one consistent cache for many services, takes load off the database",
    },
    "compliance": {
        "address": "172.28.2.4",
        "port": 6382,
        "maxmemory": 256 * MB,
        "maxmemory_policy": "noeviction",
        "services": ("compliance-service",),
        "stores": ("recent audit logs", "GDPR request state", "retention policies", "consent"),
        "reason": "nothing may be lost: when full it must refuse writes, never drop keys",
    },
    "crypto": {
        "address": "172.28.2.5",
        "port": 6383,
        "maxmemory": 256 * MB,
        "maxmemory_policy": "noeviction",
        "services": ("crypto-service",),
        "stores": ("encrypted keys", "encryption metadata", "rotation state", "operation counters"),
        "reason": "as compliance; security-critical",
    },
}


@cache
def production() -> dict[str, Role]:
    """The roles of production's catalogue, which has no problem."""
    catalogue, problems = read_catalogue(TEXT)
    assert catalogue is not None, problems
    assert problems == []
    return build_roles(catalogue, {}, "roles.yaml")[0]


def departures(there: Mapping[str, Role], readme: str) -> Iterator[str]:
    """Where roles and the table of README.md are not what the platform asked for, one line each."""
    yield from (f"{name}: no such role was asked for" for name in sorted(there.keys() - ASKED_FOR.keys()))
    yield from (f"{name}: missing" for name in sorted(ASKED_FOR.keys() - there.keys()))
    for name in sorted(there.keys() & ASKED_FOR.keys()):
        seen = {**there[name].model_dump(), "address": str(there[name].address)}
        for field, value in {**ASKED_FOR[name], **OF_EVERY_ROLE}.items():
            if seen[field] != value:
                yield f"{name}: {field}: {seen[field]} is there, {value} was asked for"
    for name, asked in ASKED_FOR.items():
        if row(name, asked) not in readme:
            yield f"{name}: README.md has no row that begins with {row(name, asked)}"


def row(name: str, asked: Mapping[str, Any]) -> str:
    """How the role's row in README's table begins."""
    return f"| {name} | {asked['address']}:{asked['port']} | {asked['maxmemory'] // MB} MB |"


def test_the_roles_are_exactly_what_the_platform_asked_for() -> None:
    found = list(departures(production(), (REPOSITORY / "README.md").read_text()))
    assert not found, "\n".join([IF_IT_IS_MEANT, *found])


def as_asked() -> dict[str, Role]:
    """Roles that are what was asked for, whatever production's catalogue says."""
    other = roles()["scratch"]
    return {name: other.model_copy(update={**asked, **OF_EVERY_ROLE}) for name, asked in ASKED_FOR.items()}


def as_told() -> str:
    """A README with a row for each of them."""
    return "\n".join(f"{row(name, asked)} …" for name, asked in ASKED_FOR.items())


def test_what_was_asked_for_is_no_departure() -> None:
    assert list(departures(as_asked(), as_told())) == []


def test_a_changed_limit_a_changed_default_another_role_a_missing_one_and_another_table_are_departures() -> None:
    there, (name, *_, last) = as_asked(), ASKED_FOR
    changed = {
        name: there[name].model_copy(update={"maxmemory": 1, "appendonly": False}),
        "one-more": there[name],
    }
    rest = {other: role for other, role in there.items() if other != last}
    assert list(departures({**rest, **changed}, as_told().replace(f"| {last} |", "| one |"))) == [
        "one-more: no such role was asked for",
        f"{last}: missing",
        f"{name}: maxmemory: 1 is there, {ASKED_FOR[name]['maxmemory']} was asked for",
        f"{name}: appendonly: False is there, True was asked for",
        f"{last}: README.md has no row that begins with {row(last, ASKED_FOR[last])}",
    ]


def test_every_role_says_what_it_is_for_and_no_two_share_an_endpoint() -> None:
    assert [name for name, role in production().items() if not role.purpose.strip()] == []
    assert same_endpoint({"one host": list(production().values())}) == []


@pytest.mark.parametrize("name", ASKED_FOR)
def test_a_damaged_log_tail_a_missing_disk_and_huge_pages_are_provided_for(name: str) -> None:
    role = production()[name]
    assert (role.aof_load_truncated, role.stop_writes_on_bgsave_error, role.disable_thp) == (True, True, True)


@pytest.mark.parametrize("name", ["compliance", "crypto"])
def test_what_must_not_be_lost_is_synced_at_every_write_kept_in_snapshots_and_never_loaded_in_part(name: str) -> None:
    role = production()[name]
    assert role.appendfsync == "always"
    assert role.propagation_error_behavior == "panic"
    assert not role.crash_log_enabled
    assert role.save


@pytest.mark.parametrize("name", ["gateway", "socket", "shared"])
def test_what_may_be_rebuilt_is_synced_every_second(name: str) -> None:
    assert production()[name].appendfsync == "everysec"


def test_the_accept_backlog_fits_under_the_kernel_ceiling_of_group_data() -> None:
    ceiling = re.search(r'"net\.core\.somaxconn": (\d+)', (REPOSITORY / "group_data" / "all.py").read_text())
    assert ceiling is not None
    assert all(role.tcp_backlog <= int(ceiling[1]) for role in production().values())


def test_the_page_about_rights_says_what_the_catalogue_does() -> None:
    assert rights.PAGE.read_text() == rights.page(), "if this is meant, run make golden and commit docs/rights.md"


SETTING = re.compile(r"^ +(?P<name>[a-z_]+): *(?P<value>[^#]*?) *(?:#(?P<reason>.*))?$")


def unexplained_numbers(text: str) -> list[str]:
    """Lines of a catalogue with a number that is not ours and no reason beside it."""
    found = (SETTING.match(line) for line in text.splitlines())
    return [
        match[0].strip()
        for match in found
        if match
        and match["name"] not in (*OURS, "purpose", "services", "stores", "reason")
        and re.search(r"\d", match["value"])
        and not re.search(r"[A-Za-z]{3}", match["reason"] or "")
    ]


def test_every_number_of_the_catalogue_says_why_beside_it() -> None:
    assert unexplained_numbers(TEXT) == []


def test_the_search_for_unexplained_numbers_finds_one() -> None:
    assert unexplained_numbers("defaults:\n  hz: 10\n  port: 1\n  hz: 11  # the default\n") == ["hz: 10"]
