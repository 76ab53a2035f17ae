"""What ends last (tasks/steps/retire.py): what waits for the proof of all hosts, and in which order it ends."""

from __future__ import annotations

from dataclasses import replace

from tasks.catalogue.requested import Requests
from tasks.compare.difference import Remedy
from tasks.compare.host import compare
from tasks.desired.build import host_without_roles
from tasks.desired.host import Host
from tasks.observed.state import Observed
from tasks.run.survey import Look
from tasks.steps.retire import before_the_end, end_commands, ending
from tests.unit.builders import as_desired, desired, with_setting

NOBODY = host_without_roles("old")


def left(host: Host, *carried: str, purge: tuple[str, ...] = ()) -> Look:
    """A host that is right for the roles it carried, as one sees it that carries others now."""
    observed = as_desired(desired(*carried))
    gone = sorted(set(carried) - {role.name for role in host.roles})
    observed = replace(
        observed, our_units=tuple(sorted({*observed.our_units, *(f"redis-{name}.service" for name in gone)}))
    )
    return look(replace(host, requests=Requests(purge=purge)), observed)


def look(host: Host, observed: Observed) -> Look:
    return Look(host, {}, observed, tuple(compare(host, observed)))


def commands(seen: Look) -> list[str]:
    return [command for command, _ in end_commands(ending(seen))]


def test_a_host_from_which_nothing_left_has_nothing_to_end() -> None:
    host = desired("gateway", "socket")
    seen = look(host, with_setting(as_desired(host), "socket", "timeout", "9"))
    assert end_commands(ending(seen)) == []
    assert before_the_end(seen) == seen


def test_a_role_and_its_inner_port_stay_until_the_end() -> None:
    seen = left(NOBODY, "socket")
    assert before_the_end(seen).differences == ()
    assert commands(seen) == [
        "systemctl disable --quiet --now redis-socket.service",
        "rm -f /etc/systemd/system/redis-socket.service /etc/redis/socket.conf /etc/redis/socket.acl",
        "systemctl daemon-reload",
        "systemctl disable --now redis-inner-port.service",
        "rm -f /etc/redis/inner-port.nft /etc/systemd/system/redis-inner-port.service",
        "systemctl daemon-reload",
        "nft 'table ip redis_inner_port; delete table ip redis_inner_port'",
    ]


def test_the_rules_of_the_roles_that_stay_are_written_when_the_other_has_ended() -> None:
    seen = left(desired("crypto"), "crypto", "socket")
    assert [item.name for item in before_the_end(seen).differences if "inner-port" in item.name] == []
    found = end_commands(ending(seen))
    assert found[0][0] == "systemctl disable --quiet --now redis-socket.service"
    assert found[-1] == ("systemctl reload-or-restart redis-inner-port.service", None)
    (rules,) = [text for _, text in found if text is not None]
    assert "172.28.2.5" in rules
    assert "172.28.2.2" not in rules


def test_a_host_that_gets_another_inner_port_gets_it_before_the_proof() -> None:
    seen = left(desired("shared"), "socket")
    early = before_the_end(seen).differences
    assert "/etc/redis/inner-port.nft" in [item.name for item in early]
    assert [item.remedy for item in ending(seen).differences] == [Remedy.RETIRE]


def test_data_that_is_to_be_deleted_goes_at_the_very_end() -> None:
    seen = left(desired("gateway"), "gateway", "socket", purge=("socket",))
    assert "/var/lib/redis/socket" in commands(seen)[-1]
    assert [item.remedy for item in before_the_end(seen).differences if item.remedy == Remedy.PURGE] == []


def test_what_needs_no_end_is_done_first() -> None:
    seen = left(desired("gateway"), "gateway", "socket")
    other = look(seen.desired, with_setting(seen.observed, "gateway", "timeout", "9"))  # type: ignore[arg-type]
    assert [item.name for item in before_the_end(other).differences] == ["timeout"]
