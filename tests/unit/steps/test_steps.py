"""The pure parts of the steps: the live commands, the gate's key count, the plan's lines, a file's command."""

import re
import subprocess
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from pyinfra.api.state import State

from tasks.compare.host import compare
from tasks.compare.restarts import restart_refusals
from tasks.compare.server import wanted_settings
from tasks.compare.unknown import Kind, Unknown
from tasks.desired.host import File, Host
from tasks.observed.state import Observed, count_keys
from tasks.run.ending import listed
from tasks.run.survey import Look, judge
from tasks.steps.gate import _lost_keys, is_busy
from tasks.steps.instances import aside_command
from tasks.steps.live import live_commands
from tasks.steps.lock import refusals
from tasks.steps.operations import file_command, kept_to_the_host
from tasks.steps.preflight import counted, plan_lines, unknown_beside
from tasks.steps.replay import CLOSE_DEFAULT, ENABLE_REPLAY, file_script
from tests.unit.builders import (
    FIVE,
    as_desired,
    desired,
    differs,
    fresh,
    roles,
    secrets_of,
    sha256,
    stopped,
    with_file,
    with_setting,
    with_user,
)
from tests.unit.scripts import bare, call, path_of


def commands(host: Host, observed: Observed) -> list[tuple[str, ...]]:
    """What makes the only instance of a host as desired."""
    instance = host.instances[0]
    wanted = wanted_settings(instance, observed.servers[instance.name])
    return live_commands(instance, compare(host, observed), wanted)


def test_nothing_different_means_nothing_said() -> None:
    host = desired("crypto")
    assert commands(host, as_desired(host)) == []


def test_all_settings_change_in_one_atomic_command() -> None:
    host = desired("crypto")
    observed = with_setting(with_setting(as_desired(host), "crypto", "timeout", "9"), "crypto", "save", "")
    assert commands(host, observed) == [
        ("CONFIG", "SET", "save", "3600 1 300 100 60 10000", "timeout", "0"),
    ]


def test_a_user_is_set_whole_with_the_hash_of_its_password() -> None:
    host = desired("crypto")
    observed = with_user(as_desired(host), "crypto", "crypto-service", commands="+@all")
    digest = sha256("secret-of-crypto-crypto-service")
    assert commands(host, observed) == [
        (
            *("ACL", "SETUSER", "crypto-service", "reset", "on", f"#{digest}"),
            *host.instances[0].role.rights_of("crypto-service").rules.split(),
        )
    ]


def test_a_stranger_is_deleted_live() -> None:
    host = desired("crypto")
    observed = with_user(as_desired(host), "crypto", "intruder", flags=["on"])
    assert commands(host, observed) == [("ACL", "DELUSER", "intruder")]


def test_the_default_user_is_left_to_the_step_that_goes_first() -> None:
    host = desired("crypto")
    assert commands(host, with_user(as_desired(host), "crypto", "default", flags=["on", "nopass"])) == []


def test_the_default_user_gets_rights_only_when_nobody_can_be_logged_in_as_it() -> None:
    assert CLOSE_DEFAULT == (
        ("MULTI",),
        ("ACL", "SETUSER", "default", "off", "resetpass"),
        ("CLIENT", "KILL", "USER", "default"),
        ("EXEC",),
    )
    assert ENABLE_REPLAY == ("ACL", "SETUSER", "default", "reset", "off", "~*", "&*", "+@all")


def test_an_acl_file_gets_the_line_of_the_default_user_and_keeps_the_others(tmp_path: Path) -> None:
    file = tmp_path / "crypto.acl"
    file.write_text("user a on #1 ~*\n user  default on nopass\nuser default2 on\nuser default\n")
    script = file_script(desired("crypto").instances).replace("/etc/redis/crypto.acl", str(file))
    subprocess.run(["sh", "-c", script], check=True)
    assert file.read_text() == "user default off ~* &* +@all\nuser a on #1 ~*\nuser default2 on\n"


def test_an_acl_file_with_no_other_user_gets_the_line_of_the_default_user(tmp_path: Path) -> None:
    file = tmp_path / "crypto.acl"
    file.write_text("user default off\n")
    script = file_script(desired("crypto").instances).replace("/etc/redis/crypto.acl", str(file))
    subprocess.run(["sh", "-c", script], check=True)
    assert file.read_text() == "user default off ~* &* +@all\n"


def test_nothing_said_live_cuts_clients_or_writes_over_managed_files() -> None:
    host = desired("crypto")
    observed = with_user(with_setting(as_desired(host), "crypto", "timeout", "9"), "crypto", "x", flags=["on"])
    said = [" ".join(command) for command in commands(host, observed)]
    assert not [text for text in said if text.startswith(("ACL LOAD", "ACL SAVE", "CONFIG REWRITE"))]


def test_no_password_is_said_live_in_clear() -> None:
    host = desired("crypto")
    observed = replace(as_desired(host), servers={"crypto": replace(as_desired(host).servers["crypto"], users={})})
    said = " ".join(word for command in commands(host, observed) for word in command)
    assert "secret-of" not in said


# The gate


def test_keys_are_counted_over_all_databases() -> None:
    info = {"db0": "keys=10,expires=3,avg_ttl=0", "db7": "keys=5,expires=5,avg_ttl=9", "dbsize": "x", "role": "master"}
    assert count_keys(info) == (15, 8)


@pytest.mark.parametrize(("role", "refused"), [("scratch", True), ("reports", False), ("gateway", False)])
def test_only_a_role_that_keeps_nothing_on_disk_is_not_restarted_over_its_keys(role: str, refused: bool) -> None:
    said = restart_refusals(roles()[role], {"db0": "keys=3,expires=0"})
    assert [line.partition(":")[0] for line in said] == refused * [
        "it keeps nothing on disk, a restart would lose its keys (3)"
    ]
    assert restart_refusals(roles()[role], {}) == []


def test_an_empty_server_has_no_keys() -> None:
    assert count_keys({"role": "master"}) == (0, 0)


@pytest.mark.parametrize(
    ("before", "after", "lost"),
    [
        ("keys=10,expires=0", "keys=10,expires=0", False),
        ("keys=10,expires=3", "keys=7,expires=0", False),
        ("keys=10,expires=0", "keys=12,expires=0", False),
        ("keys=10,expires=3", "keys=6,expires=0", True),
        ("keys=1,expires=0", "", True),
    ],
)
def test_more_keys_missing_than_could_expire_fail_the_gate(before: str, after: str, lost: bool) -> None:
    problem = _lost_keys({"db0": before}, {"db0": after} if after else {})
    assert bool(problem) == lost


def test_a_failed_gate_says_how_many_keys_there_were_and_are() -> None:
    assert _lost_keys({"db0": "keys=10,expires=3"}, {}) == [
        "had 10 keys (3 with a TTL) before the restart and has 0: stop and read its journal"
    ]


def test_keys_that_were_evicted_or_taken_away_by_clients_are_not_lost() -> None:
    before = {"db0": "keys=10,expires=0"}
    assert _lost_keys(before, {"db0": "keys=8,expires=0", "evicted_keys": "2"}) == []
    assert _lost_keys(before, {"db0": "keys=7,expires=0", "evicted_keys": "2"}) != []
    assert _lost_keys(before, {"db0": "keys=8,expires=0", "cmdstat_unlink": "calls=2,usec=9"}) == []


@pytest.mark.parametrize(
    "sign", ["loading", "rdb_bgsave_in_progress", "aof_rewrite_in_progress", "aof_rewrite_scheduled"]
)
def test_a_server_that_loads_saves_or_rewrites_is_busy(sign: str) -> None:
    assert is_busy({sign: "1"})
    assert not is_busy({sign: "0"})


# The plan


def look(host: Host, observed: Observed) -> Look:
    """A host as one run saw it."""
    return judge(host, {}, observed)


def plan(**observed: Observed) -> list[str]:
    """The plan's lines for hosts that are named like their role."""
    looks: Mapping[str, Look] = {role: look(desired(role), state) for role, state in observed.items()}
    return plan_lines(looks)


def right(role: str) -> Observed:
    """A host of one role that is as desired."""
    return as_desired(desired(role))


def test_the_plan_of_a_right_tier_is_one_line() -> None:
    assert plan(**{role: right(role) for role in FIVE}) == ["nothing to change on 5 hosts"]


def test_a_difference_is_planned_under_its_host() -> None:
    assert plan(crypto=with_setting(right("crypto"), "crypto", "timeout", "9"), shared=right("shared")) == [
        "crypto: crypto: live: timeout 9 → 0",
        "1 difference on 1 host, 0 instances will restart",
    ]


def test_a_difference_of_all_hosts_is_one_line() -> None:
    wrong = {role: replace(right(role), statoverrides={"/var/lib/redis": "root root 711"}) for role in FIVE}
    first, *rest = plan(**wrong)
    assert first == "all 5 hosts: file /etc/redis: none → dpkg-statoverride root root 711 (write)"
    assert rest == ["5 differences on 5 hosts, 0 instances will restart"]


def test_a_difference_of_some_hosts_names_them_before_what_concerns_one() -> None:
    kept = {"/var/lib/redis": "root root 711"}
    some = {role: replace(right(role), statoverrides=kept) for role in ("crypto", "shared")}
    lines = plan(**some, gateway=stopped(right("gateway"), "gateway"))
    assert [line.split(":")[0] for line in lines[:2]] == ["crypto, shared", "gateway"]


BARE = "file /etc/redis/ROLE.conf: absent → file root:redis-ROLE 0640 (write)"


def test_what_is_alike_for_several_roles_is_one_line_with_their_names() -> None:
    bare = {role: fresh(desired(role)) for role in ("crypto", "shared")}
    assert f"crypto, shared: crypto, shared: {BARE}" in plan(**bare, gateway=right("gateway"))
    assert f"all 2 hosts: each role: {BARE}" in plan(**bare)


def test_the_first_plan_of_a_bare_tier_fits_a_screen_and_in_full_names_every_difference() -> None:
    looks = {role: look(desired(role), fresh(desired(role))) for role in FIVE}
    assert len(plan_lines(looks)) < 33
    in_full = plan_lines(looks, folded=False)
    for seen in looks.values():
        for item in seen.differences:
            assert sum(line.endswith(f": {item}") for line in in_full) == 1


@pytest.mark.parametrize("count", [1, 2, 5])
def test_folding_loses_no_difference_and_no_role(count: int) -> None:
    looks = {role: look(desired(role), fresh(desired(role))) for role in FIVE[:count]}
    text = "\n".join(plan_lines(looks))
    for role, seen in looks.items():
        for item in seen.differences:
            words = str(replace(item, role=None))
            assert words in text or re.sub(rf"\b{role}\b", "ROLE", words) in text


def test_every_restart_is_named_in_the_plan() -> None:
    states = {}
    for role in ("crypto", "shared"):
        state = right(role)
        old = dict.fromkeys(state.binaries, "/usr/bin/redis-server (deleted)")
        states[role] = replace(with_setting(state, role, "io-threads", "4"), binaries=old)
    assert plan(**states)[-1] == (
        "4 differences on 2 hosts, 2 instances will restart: crypto on crypto, shared on shared"
    )


def test_the_kernel_of_a_container_is_a_note_in_the_plan_and_no_difference() -> None:
    state = right("crypto")
    assert plan(crypto=replace(state, container="lxc", sysctls={**state.sysctls, "vm.overcommit_memory": "0"})) == [
        "crypto: note: vm.overcommit_memory is 0, wanted 1: the kernel belongs to the lxc host, set it there",
        "nothing to change on 1 host",
    ]


def test_no_password_and_no_hash_is_in_the_plan() -> None:
    state = with_file(right("crypto"), "/etc/redis/crypto.acl", content="user x on #abc ~* +@all\n")
    state = with_user(state, "crypto", "crypto-service", passwords=[sha256("other")], commands="+@all")
    text = "\n".join(plan(crypto=state))
    assert [secret for secret in [*secrets_of(*desired("crypto").roles), sha256("other")] if secret in text] == []


@pytest.mark.parametrize(("count", "text"), [(0, "0 hosts"), (1, "1 host"), (2, "2 hosts")])
def test_a_count_is_written_as_people_do(count: int, text: str) -> None:
    assert counted(count, "host") == text


def test_a_refusal_counts_its_problems_and_gives_each_a_line() -> None:
    assert listed("No", ["a", "b"]) == "No (2 problems):\n    a\n    b"
    assert listed("No", ["a"]) == "No (1 problem):\n    a"


# A file's command


def test_the_content_of_a_file_travels_on_standard_input_only() -> None:
    command = file_command(File("/etc/redis/x.acl", "user default off\n", "root", "redis", "0640"))
    assert command.connector_arguments == {"_stdin": ["user default off\n"]}
    assert "user default" not in command.get_raw_value()


def test_a_file_is_private_from_its_first_byte_and_replaced_at_once() -> None:
    write = call(file_command(File("/etc/x", "text\n", "root", "redis", "0640")).get_raw_value())
    assert write.name == "write-file"
    assert write.parameters == {
        "path": "/etc/x",
        "owner": "root",
        "group": "redis",
        "mode": "0640",
        "digest": sha256("text\n"),
        "previous": "",
    }
    script = path_of("write-file").read_text()
    order = [script.index(step) for step in ("umask 077", "cat >", "sha256sum", "chown", "chmod", "sync", "mv -fT")]
    assert order == sorted(order)


def test_a_directory_is_made_with_owner_and_mode_in_one_command() -> None:
    command = file_command(File("/etc/needrestart", None, "root", "root", "0755"))
    assert bare(command.get_raw_value()) == "install -d -o root -g root -m 00755 /etc/needrestart"


def test_a_directory_of_a_role_is_made_by_what_follows_no_link() -> None:
    made = call(file_command(File("/var/lib/redis/x", None, "redis", "redis", "0750")).get_raw_value())
    assert (made.name, made.parameters["path"]) == ("make-directory", "/var/lib/redis/x")


def test_a_difference_that_nobody_can_make_live_is_not_said() -> None:
    instance = desired("crypto").instances[0]
    kernel = differs(None, "kernel", "vm.overcommit_memory", "1", "0", "set live")
    assert live_commands(instance, [kernel], {}) == []


def test_taking_requirepass_back_closes_the_default_user_again() -> None:
    host = desired("crypto")
    found = commands(host, with_setting(as_desired(host), "crypto", "requirepass", "somebody-set-this"))
    assert found == [("CONFIG", "SET", "requirepass", ""), *CLOSE_DEFAULT, ENABLE_REPLAY]


# --- Held hosts


WAIT = "wait until it ends (one that has lost its connection is let go after 30 s)"
EVE = "eve@desk, process 7, since 2026-01-02 03:04:05 UTC"


def test_who_holds_a_host_and_since_when_is_said_with_what_to_do() -> None:
    assert refusals({"one": f"held by process 9 (bash) of root, {EVE}"}) == [
        f"one: nothing was changed: another deploy holds this host: process 9 (bash) of root, {EVE}: {WAIT}"
    ]


@pytest.mark.parametrize("process", ["a process that has ended meanwhile", "process 9 (a) of b) of root"])
def test_the_holder_is_told_from_what_it_wrote(process: str) -> None:
    assert refusals({"one": f"held by {process}, {EVE}"})[0].count(EVE) == 1


def test_hosts_that_one_deploy_holds_are_one_line_and_those_of_another_are_another() -> None:
    holds = {name: f"held by process {number} (bash) of root, {EVE}" for number, name in enumerate(("a", "b"), 1)}
    assert refusals({**holds, "c": "held by process 3 (bash) of root, bob@desk, process 8, since then"}) == [
        "a, b: nothing was changed: another deploy holds these hosts: process 1 (bash) of root, process 2 (bash) of "
        f"root, {EVE}: {WAIT}",
        "c: nothing was changed: another deploy holds this host: process 3 (bash) of root, bob@desk, process 8, since "
        f"then: {WAIT}",
    ]


def test_a_look_that_another_deploy_made_old_is_taken_again() -> None:
    (said,) = refusals({"one": "changed by eve@desk"})
    assert "one: nothing was changed: another deploy was here after this one had looked: eve@desk: run it again" in said


@pytest.mark.parametrize("answer", ["", "bash: flock: command not found"])
def test_a_host_that_cannot_be_held_is_not_changed(answer: str) -> None:
    assert refusals({"one": answer})[0].startswith("one: nothing was changed: cannot be held: ")


# --- What is kept for a roll back


def test_what_ran_before_is_kept_beside_and_an_older_one_is_left() -> None:
    kept = file_command(File("/etc/redis/a.conf", "x\n", "root", "redis", "0640"), keep=True)
    assert call(kept.get_raw_value()).parameters["previous"] == "/etc/redis/a.conf.previous"


def test_nothing_is_kept_of_a_file_that_no_process_is_started_from() -> None:
    command = file_command(File("/etc/redis/a.acl", "x\n", "root", "redis", "0640"))
    assert call(command.get_raw_value()).parameters["previous"] == ""


def test_a_log_that_is_no_longer_written_is_renamed_and_not_removed() -> None:
    directory = "/var/lib/redis/crypto/appendonlydir"
    job = call(call(aside_command(desired("crypto").instances[0])).parameters["job"])
    assert (job.name, job.parameters) == ("put-aside", {"log": directory, "old_log": f"{directory}.old"})
    assert "rm " not in path_of(job.name).read_text()


def test_a_fault_in_a_step_fails_its_host_alone_and_shows_no_argument() -> None:
    said: list[str] = []
    state, host = State(), SimpleNamespace(log_styled=lambda text, **_: said.append(text))

    def step(state: State, host: object, password: str) -> bool:
        return bool([][len(password)])

    assert kept_to_the_host(step)(state, host, password="only-here") is False
    (text,) = said
    assert text.startswith("a fault of this program, IndexError")
    assert "only-here" not in text
    assert kept_to_the_host(lambda *_: True)(state, host) is True


def test_a_refusal_tells_of_what_is_unknown_beside_it_and_not_twice_of_one_role() -> None:
    unknown = (
        Unknown(None, "disk", "no answer", "look", Kind.DISK),
        *(Unknown(role, "x", "y", "z", Kind.LOADING) for role in ("crypto", "shared")),
    )
    looks = {"one": replace(look(desired("crypto"), right("crypto")), unknown=unknown)}
    assert unknown_beside(["one: crypto: refused", "two: shared: refused"], looks) == [
        "one: disk: unknown, because no answer: look (docs/runbook.md#a-host-does-not-say)",
        "one: shared: x: unknown, because y: z",
    ]
    refused = ["one: rotate=shared: shared: x: unknown, because y: z", "one: crypto: refused"]
    assert unknown_beside(refused, looks) == [
        "one: disk: unknown, because no answer: look (docs/runbook.md#a-host-does-not-say)"
    ]
