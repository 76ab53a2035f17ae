"""Whatever a host says, a step acts on names of the desired state or of a role's unit, and each stays one word."""

from __future__ import annotations

import re
import shlex
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.compare.difference import ByHand
from tasks.compare.host import compare
from tasks.desired.build import host_without_roles
from tasks.desired.host import Host
from tasks.observed.nft import EVERY
from tasks.observed.reader import parse_look
from tasks.observed.records import Unreadable
from tasks.observed.state import FileState, FileUser, ForeignServer, Leftover, Listener, Marker, Observed, Taking
from tasks.run.survey import Look
from tasks.steps.adopt import copy_script, new_marker
from tasks.steps.install import override_command
from tasks.steps.instances import removable
from tasks.steps.old_server import settle_script, stop_script
from tasks.steps.retire import end_commands, ending
from tests.unit.builders import as_desired, desired, with_unit
from tests.unit.observed.printed import MARK, look_text
from tests.unit.scripts import call

HOSTILE = [
    "$(touch /x)",
    "`reboot`",
    "a b",
    "x; reboot",
    "-rf",
    "--root=/",
    "../../etc/shadow",
    "a\nb",
    "'",
    '"',
    "\\",
    "*",
    "~",
    "é\u202e",
]
hostile = st.sampled_from(HOSTILE) | st.text(st.characters(exclude_characters="\0"), min_size=1, max_size=20)
HOSTS = {"crypto": desired("crypto"), "two": desired("gateway", "socket"), "none": host_without_roles("old")}
WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9_./@:-]*|/[A-Za-z0-9_./-]+")


def spoilt(host: Host, text: str) -> Observed:
    """A host that says this wherever a name or a value of its own can stand."""
    right = as_desired(host)
    state = FileState("file", text, text, "0755", text)
    observed = replace(
        right,
        files={**right.files, f"/etc/redis/{text}": state, f"/var/lib/redis/{text}": replace(state, kind="link")},
        stored={**right.stored, f"/var/lib/redis/crypto/{text}": state, "/var/lib/redis/crypto/appendonlydir/x": state},
        data_files={**right.data_files, f"/var/lib/redis/crypto/{text}.rdb": 9},
        data_used={**right.data_used, f"/var/lib/redis/{text}": 9},
        listeners=(*right.listeners, Listener(text, 6379, f"redis-{text}", 9)),
        boot_sysctls=dict.fromkeys(right.boot_sysctls, ("9", f"/etc/sysctl.d/{text}")),
        boot_thp={f"/etc/tmpfiles.d/{text}": text},
        statoverrides={text: text},
        packages=dict.fromkeys(right.packages, text),
        takings=(Taking(text, f"tcp dport 6379 dnat to {text}", EVERY, EVERY),),
        acl_users={path: (FileUser(text, (text,)),) for path in right.acl_users},
        leftovers=(Leftover("old", True, (text, 1), None, text),),
        our_units=(*right.our_units, "redis-old.service"),
    )
    for unit in host.units:
        drop_in = f"/x/{text.replace(' ', '_')}/y"  # each begins with a slash: the reader sees to that
        observed = with_unit(observed, unit.name, UnitFileState=text, Result=text, DropInPaths=drop_in)
    return observed


@pytest.mark.parametrize("host", HOSTS.values(), ids=list(HOSTS))
@given(text=hostile)
def test_what_a_step_acts_on_is_named_by_the_desired_state_or_is_a_role_s_unit(host: Host, text: str) -> None:
    known = {
        *(file.path for file in host.files),
        *host.absent,
        *(unit.name for unit in host.units),
        *host.packages,
        *host.statoverrides,
        "redis-old.service",
    }
    for item in compare(host, spoilt(host, text)):
        if item.subject in ("file", "unit", "package") and not isinstance(item.remedy, ByHand):
            assert item.name in known
            assert WORD.fullmatch(item.name)
        assert item.role is None or re.fullmatch("[a-z][a-z0-9_-]*", item.role)


@pytest.mark.parametrize("host", HOSTS.values(), ids=list(HOSTS))
@given(text=hostile)
def test_what_ends_and_is_removed_are_plain_words_whatever_the_host_says(host: Host, text: str) -> None:
    observed = spoilt(host, text)
    seen = Look(host, {}, observed, tuple(compare(host, observed)))
    assert all(WORD.fullmatch(path) for path in removable(seen))
    for command, stdin in end_commands(ending(seen)):
        if stdin is None and not command.startswith(("nft ", "job=")):  # the parameters of a script are quoted
            assert all(WORD.fullmatch(word) or word.startswith("--") or word == "-f" for word in shlex.split(command))
        assert (
            text not in command.split()
            or command.startswith("job=")
            or text in "rm -f systemctl disable --quiet --now daemon-reload".split()
        )


@given(text=hostile)
def test_a_unit_that_a_host_names_is_ours_only_by_a_role_s_name(text: str) -> None:
    host = HOSTS["crypto"]
    observed = replace(as_desired(host), our_units=(f"redis-{text}.service",))
    try:
        read = parse_look(look_text(observed), MARK)
    except Unreadable:
        return
    assert all(re.fullmatch(r"redis-[a-z][a-z0-9_-]{0,30}\.service", unit) for unit in read.our_units)


@given(text=hostile)
def test_what_an_old_server_says_stays_one_word_of_a_command(text: str) -> None:
    server = ForeignServer(
        812,
        text,
        (("127.0.0.1", 6379),),
        f"/srv/{text}",
        unit=text,
        config={"dbfilename": text},
        runs_as="111:115:",
    )
    assert call(stop_script(server)).parameters == {"pid": "812", "unit": text, "patience": "900"}
    assert call(settle_script(text)).parameters == {"unit": text}
    marker: Marker = new_marker(server)
    copy = call(copy_script(HOSTS["crypto"].instances[0], marker))
    assert copy.parameters["source"] == f"/srv/{text}".rstrip("/") + f"/{text}"
    assert text not in call(copy.parameters["job"]).parameters.values()


def test_an_override_is_of_the_desired_state() -> None:
    for path, rule in HOSTS["crypto"].statoverrides.items():
        assert shlex.split(override_command(rule, path))[-4:] == [*rule.split(), path]
