"""Whatever answers where a server should, the conversation ends in replies, or in one refusal that names it."""

from typing import Any

import hiredis
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.catalogue.secret import HIDDEN, Secret
from tasks.desired.host import sha256
from tasks.observed import tls
from tasks.observed.connection import NoAnswer, OutOfBounds
from tasks.observed.exchange import ExchangeError, exchange, secrets_in
from tasks.observed.refusal import Cause
from tasks.observed.replies import BEGINS, ReplyError, without

COMMANDS = [("AUTH", "operator", "secret"), ("INFO",)]


class Link:
    """A host of which nothing is known."""


class Said:
    """A channel on which this is said; at its end the other side closes, or what `last` is happens."""

    def __init__(self, said: bytes, last: Exception | None = None) -> None:
        self.said, self.last = said, last

    def send(self, data: bytes) -> None:
        """Nobody listens."""

    def receive(self) -> bytes:
        """All at once."""
        said, self.said = self.said, b""
        if not said and self.last is not None:
            raise self.last
        return said

    def close(self) -> None:
        """It is over."""


def answered(said: bytes, last: Exception | None = None) -> list[Any] | ExchangeError:
    """The replies, or the refusal."""
    host: Any = Link()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tls, "open_tunnel", lambda *_: Said(said, last))
        try:
            return exchange(host, "10.0.0.1", 6379, COMMANDS)
        except ExchangeError as error:
            return error


@pytest.mark.parametrize(
    ("said", "last", "cause"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", None, Cause.STRANGE),
        (b"*4294967295\r\n", None, Cause.STRANGE),
        (b"*9999999999\r\n", None, Cause.STRANGE),
        (b"+OK\r\n+OK\r\n+OK\r\n", None, Cause.STRANGE),
        (b"*1\r\n" * 5000, None, Cause.STRANGE),
        (b"$9999999999\r\nabc", OutOfBounds("it says more than 4 MiB"), Cause.STRANGE),
        (b"+OK\r\n", OutOfBounds("it has not ended after 60 s"), Cause.STRANGE),
        (b"+OK\r\n", NoAnswer("no answer"), Cause.SILENT),
        (b"+OK\r\n", None, Cause.BROKEN),
        (b"", None, Cause.BROKEN),
    ],
)
def test_what_is_no_answer_of_a_redis_is_refused_by_its_cause(
    said: bytes, last: Exception | None, cause: Cause
) -> None:
    refused = answered(said, last)
    assert isinstance(refused, ExchangeError)
    assert refused.refusal.cause is cause
    assert refused.refusal.said.startswith("10.0.0.1:6379 ")
    assert refused.refusal.said.isprintable()
    assert "secret" not in refused.refusal.said


@given(said=st.binary(max_size=200) | st.text(alphabet="*$+-:~%>#,_(=|!.0123456789\r\n", max_size=60).map(str.encode))
def test_any_bytes_are_as_many_replies_as_questions_or_one_refusal(said: bytes) -> None:
    replies = answered(said)
    if isinstance(replies, ExchangeError):
        assert replies.refusal.said.isprintable()
        assert len(replies.refusal.said) < 300
    else:
        assert len(replies) == len(COMMANDS)


PASSWORD = "k3yThatNobodyMaySee-0123456789"
CUT = PASSWORD[:20]
LOGIN = [("AUTH", "operator", Secret(PASSWORD)), ("ACL", "SETUSER", "x", f"#{sha256(PASSWORD)}", f">{PASSWORD}")]


@pytest.mark.parametrize(
    "said",
    [
        f"-ERR unknown command 'AUTH', with args beginning with: 'operator' '{PASSWORD}' \r\n+OK\r\n",
        f"-ERR unknown command 'AUTH', with args beginning with: 'operator' '{CUT}\r\n+OK\r\n",
        f"-WRONGPASS {PASSWORD}{PASSWORD} and {CUT} and {PASSWORD}\r\n+OK\r\n",
        f"+OK\r\n-ERR Error in ACL SETUSER modifier '>{PASSWORD}'\r\n",
        f"+OK\r\n-ERR Error in ACL SETUSER modifier '#{sha256(PASSWORD)}'\r\n",
        f"+{PASSWORD}\r\n+OK\r\n",
        f"+OK\r\n*2\r\n${len(PASSWORD)}\r\n{PASSWORD}\r\n+OK {PASSWORD}\r\n",
    ],
)
def test_a_server_that_repeats_what_it_was_sent_does_not_have_it_shown(said: str) -> None:
    host: Any = Link()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tls, "open_tunnel", lambda *_: Said(said.encode()))
        shown = str(exchange(host, "10.0.0.1", 6379, LOGIN))
    assert HIDDEN in shown
    assert [secret for secret in (PASSWORD, CUT, PASSWORD[:6], sha256(PASSWORD)) if str(secret) in shown] == []


def test_a_path_that_begins_as_a_password_does_stays_what_it_is() -> None:
    assert without(["redis-gateway-2026"], ["/run/redis-gateway/redis.pid", 3, None]) == [
        "/run/redis-gateway/redis.pid",
        3,
        None,
    ]


@given(secret=st.text(min_size=1, max_size=40), before=st.text(max_size=20), cut=st.integers(0, 40))
def test_no_error_shows_the_beginning_of_a_password(secret: str, before: str, cut: int) -> None:
    shown = str(without([secret], ReplyError(f"ERR {before}{secret}{before}{secret[:cut]}")))
    assert secret[:BEGINS] not in shown.replace(HIDDEN, "") or secret[:BEGINS] in f"ERR {before}{before}"


class Taking:
    """A server that takes one password, and what it was sent."""

    def __init__(self, password: str) -> None:
        self.password, self.sent, self.answers = password, list[list[str]](), b""
        self.inside = False

    def send(self, data: bytes) -> None:
        """Answer each command."""
        reader = hiredis.Reader(encoding="utf-8")
        reader.feed(data)
        while (command := reader.gets()) is not False:
            self.sent.append(command)
            if command[0] == "AUTH":
                self.inside = command[-1] == self.password
                self.answers += b"+OK\r\n" if self.inside else b"-WRONGPASS invalid\r\n"
            else:
                self.answers += b"+PONG\r\n" if self.inside else b"-NOAUTH\r\n"

    def receive(self) -> bytes:
        """All at once."""
        said, self.answers = self.answers, b""
        return said

    def close(self) -> None:
        """It is over."""


@pytest.mark.parametrize(
    ("taken", "tried"), [("new", ["new"]), ("old", ["new", "old"]), ("older", ["new", "old", "older"]), ("x", None)]
)
def test_a_login_is_tried_with_each_password_until_one_is_taken_and_what_follows_is_sent_once(
    taken: str, tried: list[str] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    host: Any = Link()
    server = Taking(taken)
    monkeypatch.setattr(tls, "open_tunnel", lambda *_: server)
    login = ("AUTH", "operator", Secret("new", ["old", "older"]))
    replies = exchange(host, "10.0.0.1", 6379, [login, ("PING",)])
    assert [words[-1] for words in server.sent[:-1]] == (tried or ["new", "old", "older"])
    assert server.sent[-1] == ["PING"]
    if tried:
        assert replies == ["OK", "PONG"]
    else:
        assert [str(reply)[:9] for reply in replies] == ["WRONGPASS", "NOAUTH"]


def test_what_a_server_repeats_of_any_of_the_passwords_is_not_shown() -> None:
    sent = [("AUTH", "operator", Secret("the-newest-one", ["an-older-one"]))]
    assert set(secrets_in(sent)) == {"the-newest-one", "an-older-one"}


def test_a_conversation_of_countless_small_things_is_no_redis() -> None:
    refused = answered(b"+OK\r\n*999999\r\n" + b"*0\r\n" * 999_999)
    assert isinstance(refused, ExchangeError)
    assert refused.refusal.cause is Cause.STRANGE
