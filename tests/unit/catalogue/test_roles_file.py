"""group_data/roles.yaml is the platform's table (design, "The platform"), and says why each number is what it is."""

import re
from dataclasses import dataclass

import pytest

from tests.unit.builders import FIVE, ROLES_FILE, catalogue, roles

MB = 1 << 20
OURS = ("address", "port", "maxmemory")  # columns of the platform's own table: they are the requirement


@dataclass(frozen=True)
class Row:
    """One row of the platform's table."""

    address: str
    port: int
    maxmemory: int
    policy: str
    services: tuple[str, ...]
    stores: tuple[str, ...]
    reason: str


TABLE = {
    "gateway": Row(
        "172.28.2.1",
        6379,
        256 * MB,
        "allkeys-lru",
        ("gateway", "auth-service"),
        ("user sessions", "rate-limit counters", "API-key cache", "auth tokens"),
        "both services must see the same sessions: what auth-service writes, gateway reads at once",
    ),
    "socket": Row(
        "172.28.2.2",
        6380,
        512 * MB,
        "volatile-lru",
        ("socket-service-1", "socket-service-2"),
        ("socket→user map", "presence", "typing", "room membership", "message buffers"),
        "high volume, short-lived; only keys with a TTL may be evicted",
    ),
    "shared": Row(
        "172.28.2.3",
        6381,
        512 * MB,
        "allkeys-lru",
        ("gateway", "socket-service-1", "socket-service-2", "messaging-service", "media-service", "search-service"),
        ("conversation metadata", "profiles", "unread counts", "last seen", "query results"),
        "one consistent cache for many services, takes load off the database",
    ),
    "compliance": Row(
        "172.28.2.4",
        6382,
        256 * MB,
        "noeviction",
        ("compliance-service",),
        ("recent audit logs", "GDPR request state", "retention policies", "consent"),
        "nothing may be lost: when full it must refuse writes, never drop keys",
    ),
    "crypto": Row(
        "172.28.2.5",
        6383,
        256 * MB,
        "noeviction",
        ("crypto-service",),
        ("encrypted keys", "encryption metadata", "rotation state", "operation counters"),
        "as compliance; security-critical",
    ),
}


def test_the_roles_are_those_of_the_table() -> None:
    assert sorted(catalogue().roles) == sorted(TABLE) == sorted(FIVE)


@pytest.mark.parametrize("name", FIVE)
def test_a_role_is_exactly_its_row_of_the_table(name: str) -> None:
    role = roles()[name]
    observed = Row(
        str(role.address),
        role.port,
        role.maxmemory,
        role.maxmemory_policy,
        role.services,
        role.stores,
        role.reason,
    )
    assert observed == TABLE[name]


@pytest.mark.parametrize("name", FIVE)
def test_every_role_answers_on_the_inner_port_and_persists_to_an_append_only_file(name: str) -> None:
    role = roles()[name]
    assert (role.inner_port, role.appendonly) == (6379, True)
    assert role.ports == ((6379,) if name == "gateway" else (role.port, 6379))


@pytest.mark.parametrize("name", FIVE)
def test_every_role_says_what_it_is_for(name: str) -> None:
    assert roles()[name].purpose.strip()


@pytest.mark.parametrize("name", ["compliance", "crypto"])
def test_what_must_not_be_lost_is_synced_at_every_write_kept_in_snapshots_and_never_loaded_in_part(name: str) -> None:
    role = roles()[name]
    assert role.appendfsync == "always"
    assert role.propagation_error_behavior == "panic"
    assert role.save


@pytest.mark.parametrize("name", ["gateway", "socket", "shared"])
def test_what_may_be_rebuilt_is_synced_every_second(name: str) -> None:
    assert roles()[name].appendfsync == "everysec"


@pytest.mark.parametrize("name", FIVE)
def test_a_damaged_log_tail_a_missing_disk_and_huge_pages_are_provided_for(name: str) -> None:
    role = roles()[name]
    assert (role.aof_load_truncated, role.stop_writes_on_bgsave_error, role.disable_thp) == (True, True, True)


def test_the_accept_backlog_fits_under_the_kernel_ceiling_of_group_data() -> None:
    text = (ROLES_FILE.parent / "all.py").read_text()
    ceiling = re.search(r'"net\.core\.somaxconn": (\d+)', text)
    assert ceiling is not None
    assert all(role.tcp_backlog <= int(ceiling[1]) for role in roles().values())


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
    assert unexplained_numbers(ROLES_FILE.read_text()) == []


def test_the_search_for_unexplained_numbers_finds_one() -> None:
    assert unexplained_numbers("defaults:\n  hz: 10\n  port: 1\n  hz: 11  # the default\n") == ["hz: 10"]
