"""What services may do, as rows for people (tasks/reports/rights.py, endpoint_table.py, docs/rights.md)."""

from io import StringIO
from typing import Any

import pytest
from rich.console import Console

from tasks.reports.endpoint_table import endpoint_table, rights_table
from tasks.reports.rights import refused, rows
from tests.golden.rights import rights_page
from tests.unit.builders import FIVE, desired, roles

ONE_DIFFERS: dict[str, Any] = {
    "gateway": {"services": {"gateway": {"keys": ["session:[ab]*", ":100:*"], "channels": []}, "auth-service": {}}}
}
NO_SCRIPTS: dict[str, Any] = {"crypto": {"scripts": False, "commands": "+@read +@connection -@dangerous +info +ping"}}


def shown(width: int, *names: str, **overrides: Any) -> list[str]:
    """Both tables of one host with these roles, as a terminal of `width` columns has them."""
    hosts = [desired(*(names or FIVE), **overrides)]
    out = StringIO()
    console = Console(file=out, width=width)
    console.print(endpoint_table(hosts, width))
    console.print(rights_table(hosts))
    return out.getvalue().splitlines()


def test_where_all_may_do_the_same_one_row_says_so() -> None:
    (row,) = rows(roles()[name] for name in FIVE)
    assert row.roles == FIVE
    assert row.keys == row.channels == ("*",)
    assert row.commands == ("+@all -@admin -@dangerous +info", "scripts: yes, functions: yes")
    assert any(line.startswith("every role") and "every user" in line for line in shown(80))


def test_a_service_that_differs_has_a_row_of_its_own_and_so_has_each_role() -> None:
    found = rows(roles(**ONE_DIFFERS)[name] for name in FIVE)
    assert [(row.roles, row.services, row.keys, row.channels) for row in found[:2]] == [
        (("gateway",), ("gateway",), ("session:[ab]*", ":100:*"), ("none",)),
        (("gateway",), ("auth-service",), ("*",), ("*",)),
    ]
    assert [row.roles for row in found[2:]] == [(name,) for name in FIVE[1:]]
    assert {service for row in found for service in row.services} == {
        service for name in FIVE for service in roles()[name].services
    }


def test_one_service_alone_is_named() -> None:
    (row,) = rows([roles()["crypto"]])
    assert (row.roles, row.services) == (("crypto",), ("crypto-service",))
    assert any(line.startswith("crypto  crypto-service  *") for line in shown(80, "crypto"))


def test_patterns_are_shown_as_they_are_whatever_a_terminal_would_make_of_them() -> None:
    text = "\n".join(shown(80, **ONE_DIFFERS))
    assert "session:[ab]*" in text
    assert ":100:*" in text


@pytest.mark.parametrize("width", [40, 80, 200])
def test_the_tables_fit_the_terminal_and_lose_no_letter(width: int) -> None:
    pattern, user = "a-pattern-without-an-end:" * 6 + "*", "service-" * 16
    several: dict[str, Any] = {"services": {user: {"keys": [pattern]}, "auth-service": {}}}
    lines = shown(width, gateway=several)
    assert max(map(len, lines)) <= width
    columns = "".join(lines).replace(" ", "")
    assert all(columns.count(letter) >= (pattern + user + user).count(letter) for letter in set(pattern + user))


def test_what_is_refused_is_named_as_a_person_types_it() -> None:
    usual = refused(roles()["crypto"])
    assert {"CONFIG SET", "KEYS", "FLUSHALL", "FUNCTION", "SORT", "SCRIPT FLUSH"} <= set(usual)
    assert not {"GET", "SET", "EVAL", "MULTI", "INFO", "PUBLISH", "FUNCTION LOAD", "SCRIPT LOAD"} & set(usual)
    fewer = refused(roles(**NO_SCRIPTS)["crypto"])
    assert {"SET", "EVAL", "SCRIPT", "PUBLISH", "MULTI"} <= set(fewer)
    assert "GET" not in fewer


def test_the_page_has_a_line_for_each_service_of_each_role_and_a_list_for_each_kind_of_rights() -> None:
    built = roles(**ONE_DIFFERS, **NO_SCRIPTS)
    page = rights_page([built[name] for name in FIVE])
    assert (
        r"| gateway | gateway | `session:[ab]*` `:100:*` | none | `+@all -@admin -@dangerous +info` | yes | yes |"
        in page
    )
    assert "| crypto | crypto-service | `*` | `*` | `+@read +@connection -@dangerous +info +ping` | no | yes |" in page
    services, _, own = page.partition("## Users of this tool")
    assert (
        "- **metrics**, of those that are measured (`redis_metrics`). Keys: none. Commands: INFO, SLOWLOG LEN," in own
    )
    lines = [line for line in services.splitlines() if line.startswith("| ")]
    assert len(lines) == 1 + sum(len(built[name].services) for name in FIVE)
    assert page.count("\nTo ") == 2
    assert "\nTo crypto-service on crypto: ACL, APPEND," in page
    assert max(map(len, page.splitlines())) <= 120
