"""What a deploy does about the inner ports (steps/inner_port.py): a reload wherever that is enough."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from tasks.compare.host import compare
from tasks.desired.host import Host
from tasks.observed.state import Observed
from tasks.steps.inner_port import lead_commands
from tests.unit.builders import as_desired, desired, fresh, with_file, with_setting, with_unit, without_file

UNIT = "redis-inner-port.service"
UNIT_FILE = f"/etc/systemd/system/{UNIT}"
RULES = "/etc/redis/inner-port.nft"
RELOAD = [f"systemctl reload-or-restart {UNIT}"]
RESTART = [f"systemctl restart {UNIT}"]
CASES: dict[str, tuple[Callable[[Observed], Observed], list[str]]] = {
    "all is right": (lambda seen: seen, []),
    "a setting": (lambda seen: with_setting(seen, "crypto", "timeout", "9"), []),
    "no rules": (lambda seen: replace(seen, forwards=frozenset()), RELOAD),
    "rules that nobody owns": (lambda seen: replace(seen, forwards_owner=""), RESTART),
    "an edited rules file": (lambda seen: with_file(seen, RULES, content=""), RELOAD),
    "no rules file": (lambda seen: without_file(seen, RULES), RELOAD),
    "a stopped unit": (lambda seen: with_unit(seen, UNIT, ActiveState="inactive", MainPID="0"), RELOAD),
    "nftables was removed": (
        lambda seen: replace(seen, packages={k: v for k, v in seen.packages.items() if k != "nftables"}),
        RELOAD,
    ),
    "a unit file of another owner": (lambda seen: with_file(seen, UNIT_FILE, owner="admin"), []),
    "a unit file of another mode": (lambda seen: with_file(seen, UNIT_FILE, mode="0600"), []),
    "no unit file": (lambda seen: without_file(seen, UNIT_FILE), []),
    "an edited unit file": (lambda seen: with_file(seen, UNIT_FILE, content="[Unit]\n"), RESTART),
    "a process of before": (lambda seen: replace(seen, started={**seen.started, UNIT: ""}), RESTART),
}


@pytest.fixture
def host() -> Host:
    """A host with one role whose inner port has to be led."""
    return desired("crypto")


@pytest.mark.parametrize("case", CASES)
def test_the_process_is_restarted_only_where_its_unit_was_another(host: Host, case: str) -> None:
    change, expected = CASES[case]
    assert lead_commands(compare(host, change(as_desired(host))), wanted=True) == expected


def test_a_fresh_host_starts_it(host: Host) -> None:
    assert lead_commands(compare(host, fresh(host)), wanted=True) == RELOAD


def test_where_no_role_wants_one_the_table_goes_and_only_if_there_is_one() -> None:
    host = desired("gateway")
    other = as_desired(desired("crypto"))
    left = replace(as_desired(host), forwards=other.forwards)
    assert lead_commands(compare(host, left), wanted=False) == [
        "nft 'table ip redis_inner_port; delete table ip redis_inner_port'"
    ]
    assert lead_commands(compare(host, as_desired(host)), wanted=False) == []
