"""How a Redis of somebody else's is ended (tasks/steps/old_server.py): patiently, and so that it stays away."""

import pytest

from tasks.observed.state import ForeignServer
from tasks.steps.old_server import settle_script, stop_script


def server(unit: str) -> ForeignServer:
    """A server with or without a unit."""
    return ForeignServer(812, "redis-server", (("127.0.0.1", 6379),), unit=unit)


@pytest.mark.parametrize("unit", ["", "redis-server.service", "my-redis.service"])
def test_it_is_never_killed_and_never_left_to_systemd(unit: str) -> None:
    script = stop_script(server(unit))
    assert "kill -TERM 812" in script
    assert "KILL" not in script.replace("kill -TERM", "")
    assert "systemctl stop" not in script


def test_nothing_starts_it_again_while_it_ends_and_a_refusal_to_end_leaves_its_unit_as_it_was() -> None:
    before, after = stop_script(server("my-redis.service")).split("kill -TERM 812")
    file = "/run/systemd/system/my-redis.service.d/50-adopted.conf"
    assert f"Restart=no\\nExecStop=\\nExecStopPost=\\n' >{file} && systemctl daemon-reload" in before
    assert f"rm -f {file}; rmdir /run/systemd/system/my-redis.service.d" in after


def test_an_ended_one_is_disabled_also_by_a_deploy_that_goes_on() -> None:
    script = settle_script("my-redis.service")
    assert script.startswith("systemctl stop my-redis.service; systemctl disable --quiet my-redis.service")
    assert script.endswith("systemctl daemon-reload")
    assert [settle_script(unit) for unit in ("", "redis-server.service")] == ["true", "true"]


def test_a_unit_s_name_stays_a_name() -> None:
    for script in (stop_script(server("a b; reboot@x.service")), settle_script("a b; reboot@x.service")):
        assert "'/run/systemd/system/a b; reboot@x.service.d'/50-adopted.conf" in script
