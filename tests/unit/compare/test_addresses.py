"""A role's address is given to its host by this tool where an interface is named, and by nobody else then."""

from dataclasses import replace

import pytest

from tasks.catalogue.interface import interface_of, interface_problems
from tasks.compare.addresses import twice
from tasks.compare.difference import ByHand, Remedy
from tasks.compare.fitness import unfit
from tasks.compare.host import compare
from tasks.compare.leftovers import ends_last
from tasks.desired.build import host_without_roles
from tasks.desired.host import Host
from tasks.observed.state import Observed
from tasks.run.survey import judge
from tasks.steps.retire import end_commands, retire_address_commands
from tests.unit.builders import as_desired, desired, fresh, roles, with_file, with_unit

HOST = desired("crypto", "gateway", interface="eth0")
SEEN = as_desired(HOST)
UNIT = "caas-redis-address-crypto.service"
FILE = f"/etc/systemd/system/{UNIT}"
ADDRESS = "172.28.2.5"
WITHOUT = desired("crypto", "gateway")


def found(host: Host, observed: Observed) -> list[tuple[str, str, object]]:
    return [(item.subject, item.observed, item.remedy) for item in compare(host, observed)]


def test_a_host_that_has_its_addresses_by_this_tool_is_as_desired() -> None:
    assert compare(HOST, SEEN) == []


def test_without_an_interface_nothing_is_there_for_it() -> None:
    assert "iputils-arping" not in WITHOUT.packages
    assert not [file.path for file in WITHOUT.files if "address" in file.path]


def test_a_host_that_lacks_its_addresses_is_fit_where_this_tool_gives_them_and_not_elsewhere() -> None:
    for host, fits in ((HOST, True), (WITHOUT, False)):
        seen = replace(fresh(host), addresses=frozenset({"127.0.0.1", "10.0.0.7"}))
        wrong = [reason for reason in unfit(host, seen, compare(host, seen)) if "address" in reason]
        assert (wrong == []) is fits


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"UnitFileState": "disabled"}, "disabled"),
        ({"UnitFileState": "masked"}, "masked"),
        ({"LoadState": "not-found", "UnitFileState": "", "ActiveState": "inactive"}, "absent"),
        ({"ActiveState": "activating", "Result": "exit-code"}, f"{UNIT} is activating (exit-code)"),
        ({"ActiveState": "failed", "Result": "signal"}, f"{UNIT} is failed (signal)"),
        ({"NeedDaemonReload": "yes"}, f"{UNIT} changed on disk"),
    ],
)
def test_whatever_keeps_a_unit_from_keeping_its_address_is_one_difference(changes: dict[str, str], says: str) -> None:
    assert found(HOST, with_unit(SEEN, UNIT, **changes)) == [("address", says, Remedy.PLACE)]


def test_an_address_that_somebody_took_from_under_its_unit_is_put_back() -> None:
    seen = replace(SEEN, addresses=SEEN.addresses - {ADDRESS})
    assert found(HOST, seen) == [("address", f"absent, while {UNIT} runs", Remedy.PLACE)]


def test_a_unit_that_runs_by_an_older_text_is_started_anew() -> None:
    seen = replace(SEEN, started={**SEEN.started, UNIT: "0" * 16})
    assert found(HOST, seen) == [("address", f"{UNIT} was started before it changed", Remedy.PLACE)]


def test_a_unit_s_file_is_compared_as_every_file() -> None:
    (item,) = compare(HOST, with_file(SEEN, FILE, content=SEEN.files[FILE].content + "# more\n"))
    assert (item.subject, item.name, item.remedy) == ("file", FILE, Remedy.WRITE)


def test_an_interface_that_is_taken_back_takes_no_address_from_a_role_that_stays() -> None:
    differences = compare(WITHOUT, SEEN)
    assert {item.subject for item in differences} == {"address"}
    assert all(isinstance(item.remedy, ByHand) for item in differences)
    assert [reason for reason in unfit(WITHOUT, SEEN, differences) if f"no {UNIT}" in reason]


def test_the_address_of_a_role_that_leaves_goes_last_and_behind_its_server() -> None:
    gateway = desired("gateway", interface="eth0")
    last = ends_last(gateway, SEEN, compare(gateway, SEEN))
    assert {(item.subject, item.name) for item in last} >= {("unit", "redis-crypto.service"), ("address", UNIT)}
    seen = replace(judge(gateway, {}, SEEN), differences=tuple(last))
    commands = [command for command, _ in end_commands(seen)]
    assert commands.index("systemctl disable --quiet --now redis-crypto.service") < commands.index(
        retire_address_commands([UNIT])[0]
    )


def test_a_host_whose_last_role_has_left_keeps_no_address() -> None:
    empty = host_without_roles("host-1")
    assert ("address", UNIT) in {(item.subject, item.name) for item in compare(empty, SEEN)}


def test_an_address_that_another_host_of_the_run_has_is_refused_on_the_one_that_is_to_keep_it() -> None:
    other = replace(as_desired(desired("shared")), addresses=frozenset({"172.28.2.3", ADDRESS}))
    hosts = {"a": (HOST, SEEN), "b": (desired("shared"), other)}
    (item,) = twice(hosts)["a"]
    assert item.observed == "on b as well"
    assert isinstance(item.remedy, ByHand)
    assert unfit(HOST, SEEN, [item])
    assert twice({**hosts, "a": (WITHOUT, SEEN)}) == {}  # what a network has on purpose is its own business


@pytest.mark.parametrize(
    "value", ["", "lo", "eth0; reboot", "-eth0", "a" * 16, "eth 0", "eth/0", 7, ["eth0"], "eth0\n"]
)
def test_what_is_no_name_of_an_interface_is_refused_and_never_used(value: object) -> None:
    assert interface_of(value) is None
    assert len(list(interface_problems("host-1", value, [], "10.0.0.7"))) == 1


@pytest.mark.parametrize("value", ["eth0", "enp3s0", "host0", "bond0.120", "br-lan"])
def test_a_name_of_an_interface_is_taken_as_it_is(value: str) -> None:
    assert interface_of(value) == value
    assert list(interface_problems("host-1", value, roles().values(), "10.0.0.7")) == []


def test_ssh_does_not_go_to_an_address_that_leaves_with_its_role() -> None:
    (problem,) = interface_problems("host-1", "eth0", [roles()["crypto"]], ADDRESS)
    assert "ssh_hostname is 172.28.2.5, the address of crypto" in problem
