"""What ends last (tasks/steps/retire.py): what waits for the proof of all hosts, and in which order it ends."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tasks.catalogue.requested import Requests
from tasks.compare.difference import Remedy
from tasks.compare.host import compare
from tasks.compare.leftovers import of_inner_ports
from tasks.desired.build import host_without_roles
from tasks.desired.host import Host
from tasks.desired.paths import copy_drop_in, handed_over_drop_in
from tasks.observed.state import Leftover, Observed
from tasks.run.survey import Look
from tasks.steps.ending import stop_script
from tasks.steps.install import files_of
from tasks.steps.retire import before_the_end, end_commands, ending, forget_moves, supersede_command
from tests.unit.builders import as_desired, desired, with_setting

NOBODY = host_without_roles("old")
DOWN = {"ActiveState": "inactive", "MainPID": "0"}


def left(host: Host, *carried: str, purge: tuple[str, ...] = ()) -> Look:
    """A host that is right for the roles it carried, as one sees it that carries others now."""
    observed = as_desired(desired(*carried))
    gone = sorted(set(carried) - {role.name for role in host.roles})
    observed = replace(
        observed,
        our_units=tuple(sorted({*observed.our_units, *(f"redis-{name}.service" for name in gone)})),
        leftovers=tuple(Leftover(name, True, observed.configured[name]) for name in gone),
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
        stop_script("redis-socket.service"),
        "systemctl disable --quiet --now redis-socket.service",
        "rm -f /etc/systemd/system/redis-socket.service /etc/redis/socket.conf /etc/redis/socket.acl "
        "/etc/redis/socket.pem /etc/redis/socket.ca /etc/redis/socket.crt /etc/redis/socket.key "
        "/var/lib/caas-redis/socket.ca /usr/local/lib/caas-redis/guard-socket /etc/redis/socket.peer "
        "/run/caas-redis/socket.served /var/lib/caas-redis/socket.promoted",
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
    assert found[1][0] == "systemctl disable --quiet --now redis-socket.service"
    assert found[-1] == ("systemctl reload-or-restart redis-inner-port.service", None)
    (rules,) = [text for _, text in found if text is not None]
    assert "172.28.2.5" in rules
    assert "172.28.2.2" not in rules


def rules(seen: Look) -> tuple[list[str], list[str]]:
    """The rules that are written before the proof, and those that are written at the end."""
    early = [file.content or "" for file in files_of(before_the_end(seen)) if file.path.endswith(".nft")]
    return early, [text for _, text in end_commands(ending(seen)) if text is not None]


def test_a_host_that_gets_another_inner_port_has_both_until_the_proof() -> None:
    seen = left(desired("shared"), "socket")
    ((early,), (late,)) = rules(seen)
    for line in ("ip daddr 172.28.2.2 tcp dport 6379 dnat to 172.28.2.2:6380", "ip daddr 172.28.2.3 tcp dport 6379 "):
        assert early.count(line) == 2
    assert "172.28.2.2" not in late
    assert late.count("172.28.2.3:6381") == 2
    assert [item.name for item in before_the_end(seen).differences if item.remedy == Remedy.RETIRE] == []


def test_what_is_proved_then_is_a_host_with_both() -> None:
    """The look of the proof compares with the roles that stay: the rules of the other are no difference until then."""
    seen = left(desired("shared"), "socket")
    first = before_the_end(seen).desired
    assert seen.observed is not None
    there = as_desired(first)
    now = replace(
        seen.observed, forwards=there.forwards, files={file.path: there.files[file.path] for file in first.files}
    )
    left_over = [item for item in before_the_end(look(seen.desired, now)).differences if of_inner_ports(item)]
    assert left_over == []


def test_an_inner_port_that_another_role_of_the_host_gets_leads_there_at_once() -> None:
    same = {"address": "172.28.2.2", "port": 6399}
    ((early,), late) = rules(left(desired("shared", shared=same), "socket"))
    assert early.count("172.28.2.2:6399") == 2
    assert "172.28.2.2:6380" not in early
    assert late == []


def test_a_role_without_an_inner_port_leaves_none() -> None:
    seen = left(desired("shared"), "gateway")
    ((early,), late) = rules(seen)
    assert "172.28.2.1" not in early
    assert late == []


def test_data_that_is_to_be_deleted_goes_at_the_very_end() -> None:
    seen = left(desired("gateway"), "gateway", "socket", purge=("socket",))
    assert "/var/lib/redis/socket" in commands(seen)[-1]
    assert [item.remedy for item in before_the_end(seen).differences if item.remedy == Remedy.PURGE] == []


def test_what_needs_no_end_is_done_first() -> None:
    seen = left(desired("gateway"), "gateway", "socket")
    other = look(seen.desired, with_setting(seen.observed, "gateway", "timeout", "9"))  # type: ignore[arg-type]
    assert [item.name for item in before_the_end(other).differences] == ["timeout"]


def moved_away(role: str = "slave", drop_in: str = "") -> Look:
    """A host that crypto has left, whose server says that it is `role`."""
    seen = left(NOBODY, "crypto")
    assert seen.observed is not None
    told = tuple(replace(item, info={"role": role}) for item in seen.observed.leftovers)
    state = {**seen.observed.unit("redis-crypto.service"), "DropInPaths": drop_in}
    return look(NOBODY, replace(seen.observed, leftovers=told, units={"redis-crypto.service": state}))


def test_it_is_recorded_first_that_what_is_kept_of_a_role_that_moved_is_older() -> None:
    first, *others = [command for command, _ in end_commands(ending(moved_away()), ["crypto"])]
    assert first == supersede_command("crypto")
    assert forget_moves("crypto") in others
    fenced = moved_away(drop_in=handed_over_drop_in("crypto"))
    assert commands(fenced)[0] == supersede_command("crypto")  # of a move that an earlier run has handed over


def test_it_is_not_recorded_of_a_server_that_serves_whatever_was_begun_with_it() -> None:
    for seen in (moved_away("master", handed_over_drop_in("crypto")), moved_away("master", copy_drop_in("crypto"))):
        assert supersede_command("crypto") not in commands(seen)
        assert forget_moves("crypto") in commands(seen)


@pytest.mark.parametrize("drop_in", [handed_over_drop_in("crypto"), copy_drop_in("crypto")])
def test_it_is_recorded_where_the_server_that_was_replaced_or_never_served_does_not_run_or_tell(drop_in: str) -> None:
    seen = moved_away(drop_in=drop_in)
    assert seen.observed is not None
    for runs in (True, False):
        left_over = tuple(
            replace(item, running=runs, info={}, keys=None, because="it does not tell")
            for item in seen.observed.leftovers
        )
        state = {**seen.observed.unit("redis-crypto.service"), **({} if runs else DOWN)}
        silent = look(NOBODY, replace(seen.observed, leftovers=left_over, units={"redis-crypto.service": state}))
        assert commands(silent)[0] == supersede_command("crypto")
        assert forget_moves("crypto") in commands(silent)


def test_a_server_that_is_down_and_of_no_move_keeps_the_record_that_it_has_run() -> None:
    seen = moved_away()
    assert seen.observed is not None
    left_over = tuple(replace(item, running=False, info={}) for item in seen.observed.leftovers)
    assert supersede_command("crypto") not in commands(look(NOBODY, replace(seen.observed, leftovers=left_over)))
