"""How a Redis of somebody else's is ended (tasks/steps/old_server.py): patiently, and so that it stays away."""

import pytest

from tasks.observed.state import ForeignServer
from tasks.steps.old_server import settle_script, stop_script
from tests.unit.scripts import call, path_of


def server(unit: str) -> ForeignServer:
    """A server with or without a unit."""
    return ForeignServer(812, "redis-server", (("127.0.0.1", 6379),), unit=unit)


@pytest.mark.parametrize(
    ("unit", "given"), [("", ""), ("redis-server.service", ""), ("my-redis.service", "my-redis.service")]
)
def test_its_unit_is_kept_from_bringing_it_back_unless_it_is_masked(unit: str, given: str) -> None:
    stop = call(stop_script(server(unit)))
    assert (stop.name, stop.parameters) == ("end-server", {"pid": "812", "unit": given, "patience": "900"})


def test_it_is_never_killed_and_never_left_to_systemd() -> None:
    lines = [line for line in path_of("end-server").read_text().splitlines() if not line.startswith("#")]
    assert [line for line in lines if "kill " in line] == ['kill -TERM "$pid"']
    assert not [line for line in lines if "systemctl stop" in line]


def test_nothing_starts_it_again_while_it_ends_and_a_refusal_to_end_leaves_its_unit_as_it_was() -> None:
    before, after = path_of("end-server").read_text().split('kill -TERM "$pid"')
    assert r"Restart=no\nExecStop=\nExecStopPost=\n" in before
    assert 'rm -f "$drop_in/50-adopted.conf"' in after


def test_an_ended_one_is_disabled_also_by_a_deploy_that_goes_on() -> None:
    assert call(settle_script("my-redis.service")).name == "settle-unit"
    assert [settle_script(unit) for unit in ("", "redis-server.service")] == ["true", "true"]


def test_a_unit_s_name_stays_a_name() -> None:
    name = "a b; reboot@x.service"
    for script in (stop_script(server(name)), settle_script(name)):
        assert call(script).parameters["unit"] == name
