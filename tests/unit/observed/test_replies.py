"""Whoever answers on a role's port may say anything, or nothing: it is a refusal in words, and shows no password."""

import socket
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tasks.catalogue.secret import HIDDEN, Secret
from tasks.compare.fitness import unfit
from tasks.observed.exchange import ExchangeError, exchange, info_fields
from tasks.observed.look import observe_server, read_server
from tasks.observed.refusal import Cause
from tasks.observed.replies import DEPTH, Reply, StrangeReply, checked
from tasks.observed.state import Server
from tasks.prove.proof import behave
from tasks.run.survey import Look, judge
from tests.plan.redis import encode
from tests.unit.builders import as_desired, desired

PASSWORD = Secret("a-password-that-nobody-may-see")
HOST = desired("crypto")
INSTANCE = HOST.instances[0]
RIGHT = as_desired(HOST)
WHERE = (INSTANCE.address, INSTANCE.role.port)
KNOWN = {"crypto": dict.fromkeys(("operator", "crypto-service"), PASSWORD), "gateway": {"auth-service": PASSWORD}}


class Answering:
    """A host through which every connection leads to somebody who says this, whatever he is told, and then closes."""

    def __init__(self, said: bytes) -> None:
        self.said = said
        self.connector = SimpleNamespace(client=self)

    def get_transport(self) -> "Answering":
        return self

    def open_channel(self, *_: Any, **__: Any) -> socket.socket:
        near, far = socket.socketpair()
        near.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
        far.sendall(self.said)
        far.shutdown(socket.SHUT_WR)
        self.far = far
        return near


def host(said: bytes) -> Any:
    return Answering(said)


def looked(said: bytes) -> Server:
    return observe_server(host(said), INSTANCE, WHERE, PASSWORD)


def judged(server: Server) -> Look:
    """What follows from a server that says this."""
    look = judge(HOST, KNOWN, replace(RIGHT, servers={"crypto": replace(server, endpoint=WHERE)}))
    assert look.observed is not None
    unfit(HOST, look.observed, list(look.differences))
    return look


def harmless(look: Look) -> None:
    """Nothing that it leads to shows a password."""
    shown = repr(look) + "".join(map(str, (*look.differences, *look.unknown, *look.health, *look.notes)))
    assert PASSWORD[:] not in shown


ODD = {
    "nothing": b"",
    "HTTP": b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\n\r\n400 Bad Request",
    "SSH": b"SSH-2.0-OpenSSH_9.2p1\r\n",
    "lists in lists": b"*1\r\n" * 100 + b":1\r\n",
    "more lists in lists than Python walks": b"*1\r\n" * 50_000 + b":1\r\n",
    "a list without end": b"*2147483647\r\n:1\r\n",
    "a text without end": b"$536870912\r\nx",
    "a list that no memory holds": b"*4294967296\r\n",
    "a list of lists without end": b"*1\r\n*2147483647\r\n",
    "a map by lists": b"%1\r\n*1\r\n:1\r\n:2\r\n",
    "a truth": b"#t\r\n" * 9,
    "more replies than were asked for": b"+OK\r\n" * 99,
    "a reply and garbage": b"+OK\r\n\x00\xff",
    "no memory": b"-OOM command not allowed when used memory > 'maxmemory'.\r\n" * 9,
    "garbage": bytes(range(256)),
    "a length below zero": b"$-5\r\n",
    "numbers for everything": b":7\r\n",
    "half a reply": b"$5\r\nhal",
    "what an operator sent": b"-ERR unknown command 'AUTH', with args beginning with: 'operator'\r\n" * 9,
}


@pytest.mark.parametrize("said", ODD.values(), ids=ODD)
def test_an_odd_reply_is_a_refusal_in_one_line_and_no_fault(said: bytes) -> None:
    server = looked(said)
    assert server.refusal is not None
    assert server.refusal.cause in (Cause.STRANGE, Cause.BROKEN)
    assert server.refusal.said.isprintable()
    harmless(judged(server))


@pytest.mark.parametrize("said", ODD.values(), ids=ODD)
def test_a_proof_that_gets_an_odd_reply_is_a_finding_and_no_fault(said: bytes) -> None:
    look = judge(HOST, KNOWN, RIGHT)
    findings = behave(host(said), look, INSTANCE)
    assert findings
    assert PASSWORD[:] not in "".join(map(str, findings)) + repr(findings)


@given(st.binary(max_size=200))
@settings(max_examples=100, suppress_health_check=[HealthCheck.too_slow], deadline=None)
def test_whatever_bytes_come_they_are_a_refusal(said: bytes) -> None:
    server = looked(said)
    assert server.refusal is not None
    harmless(judged(server))
    assert PASSWORD[:] not in "".join(map(str, behave(host(said), judge(HOST, KNOWN, RIGHT), INSTANCE)))


NAMES = st.sampled_from(
    [*RIGHT.servers["crypto"].info, *INSTANCE.settings, "db0", "evicted_keys", "errorstat_OOM", "x"]
)
VALUES = st.one_of(st.text(max_size=8), st.sampled_from(["1", "-1", "keys=1,expires=0", "keys=x", "ok", "9" * 30, "²"]))
TEXTS = st.lists(st.tuples(NAMES, VALUES), max_size=6)
REPLIES = st.recursive(
    st.one_of(
        st.none(),
        st.integers(-(2**63), 2**63 - 1),
        VALUES,
        TEXTS.map(lambda rows: "".join(f"{name}:{value}\r\n" for name, value in rows)),
        TEXTS.map(lambda rows: [text for row in rows for text in row]),
    ),
    lambda inner: st.lists(inner, max_size=4),
    max_leaves=8,
)
COUNT = 4 + 2 + 1 + len(INSTANCE.users)  # AUTH, CONFIG GET, INFO, ACL USERS; the categories; every user


@given(st.lists(REPLIES, min_size=COUNT, max_size=COUNT))
@settings(max_examples=100, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large], deadline=None)
def test_whatever_replies_come_they_are_a_server_that_can_be_judged_or_a_refusal(replies: list[object]) -> None:
    harmless(judged(looked(b"".join(map(encode, replies)))))


def as_sent(server: Server) -> list[object]:
    """The replies of a server that is as desired."""
    users = [[item for pair in server.users[name].items() for item in pair] for name in ("default", *_users())]
    return [
        "OK",
        [item for pair in server.config.items() for item in pair],
        "".join(f"{name}:{value}\r\n" for name, value in server.info.items()),
        list(server.users),
        *(sorted(commands) for commands in server.categories.values()),
        *users,
    ]


def _users() -> Sequence[str]:
    return [user.name for user in INSTANCE.users]


@given(NAMES, VALUES, NAMES, VALUES)
@settings(max_examples=100, deadline=None)
def test_whatever_one_field_says_it_is_judged_or_a_refusal(name: str, value: str, setting: str, other: str) -> None:
    sent = as_sent(RIGHT.servers["crypto"])
    sent[1] = [*sent[1], setting, other]  # type: ignore[misc]
    sent[2] = f"{sent[2]}{name}:{value}\r\n"
    harmless(judged(looked(b"".join(map(encode, sent)))))


def test_the_replies_of_a_good_server_are_read_as_it_is() -> None:
    found = looked(b"".join(map(encode, as_sent(RIGHT.servers["crypto"]))))
    assert found == RIGHT.servers["crypto"]


@pytest.mark.parametrize("reply", [None, 7, ["db0"], "used_memory:lots\r\n", "db0:keys=many,expires=0\r\n"])
def test_an_info_that_none_gives_is_a_refusal(reply: Reply) -> None:
    with pytest.raises(ExchangeError) as caught:
        info_fields(reply)
    assert caught.value.refusal.cause is Cause.STRANGE


def test_lists_are_walked_as_deep_as_redis_nests_them() -> None:
    deepest: Reply = "x"
    for _ in range(DEPTH):
        deepest = [deepest]
    assert checked(deepest) == deepest
    with pytest.raises(StrangeReply):
        checked([deepest])


@pytest.mark.parametrize("at", range(1, COUNT))
@pytest.mark.parametrize("odd", [None, 7, "x", ["x"], [["x"]], [7, 7]])
def test_each_reply_of_another_shape_is_a_refusal_or_nothing_that_counts(at: int, odd: Reply) -> None:
    sent: list[Any] = as_sent(RIGHT.servers["crypto"])
    sent[at] = odd
    with suppress(StrangeReply, ExchangeError):
        judged(read_server(list(RIGHT.servers["crypto"].categories), ["default", *_users()], sent))


@pytest.mark.parametrize("show", [repr, str, format, lambda text: f"{text}", lambda text: repr({"a": [text]})])
def test_a_password_shows_itself_nowhere(show: Callable[[object], str]) -> None:
    assert PASSWORD[:] not in show(PASSWORD)
    assert HIDDEN in show(PASSWORD)


def test_a_password_is_sent_as_it_is() -> None:
    answering = host(b"+OK\r\n")
    assert exchange(answering, *WHERE, [("AUTH", "operator", PASSWORD)]) == ["OK"]
    assert answering.far.recv(1000).endswith(PASSWORD.encode() + b"\r\n")
