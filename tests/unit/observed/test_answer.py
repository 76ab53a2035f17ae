"""Who answered where no connection to a host was made: pyinfra's own connections, to real ends on loopback."""

from __future__ import annotations

import errno
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import paramiko
import pytest
from paramiko.ssh_exception import NoValidConnectionsError
from pyinfra.api import Config, Inventory, State
from pyinfra.api.exceptions import ConnectError

from tasks.observed.answer import Answer, answer_of
from tasks.run.entry import connect

PROHIBITED, FAILED = (
    paramiko.common.OPEN_FAILED_ADMINISTRATIVELY_PROHIBITED,
    paramiko.common.OPEN_FAILED_CONNECT_FAILED,
)
End = Callable[[socket.socket], None]  # what is done with a connection


class Sshd(paramiko.ServerInterface):
    """Lets a key in, or nobody, and leads to `to`, or refuses that with a code."""

    def __init__(self, admits: bool, to: int | Callable[[paramiko.Channel], None]) -> None:
        self.admits, self.to = admits, to

    def check_auth_publickey(self, username: str, key: paramiko.PKey) -> int:
        return paramiko.common.AUTH_SUCCESSFUL if self.admits else paramiko.common.AUTH_FAILED

    def get_allowed_auths(self, username: str) -> str:
        return "publickey"

    def check_channel_direct_tcpip_request(self, chanid: int, origin: Any, destination: Any) -> int:
        return self.to if isinstance(self.to, int) else paramiko.common.OPEN_SUCCEEDED


def sshd(admits: bool = True, to: int | Callable[[paramiko.Channel], None] = FAILED) -> End:
    def serve(connection: socket.socket) -> None:
        far = paramiko.Transport(connection)
        far.add_server_key(paramiko.ECDSAKey.generate())
        with suppress(paramiko.SSHException, EOFError, OSError):
            far.start_server(server=Sshd(admits, to))
            while far.is_active():
                channel = far.accept(0.2)
                if channel is not None and callable(to):
                    to(channel)
                    channel.close()
        far.close()

    return serve


def says(text: bytes) -> Callable[[Any], None]:
    """What greets so, hears something and hangs up; without a greeting at once."""

    def say(end: Any) -> None:
        if text:
            end.sendall(text)
            end.recv(1)

    return say


HTTP = b"HTTP/1.1 400 Bad Request\r\n\r\n"
GREETING = b"SSH-2.0-OpenSSH_9.2\r\n"


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def listening(stack: ExitStack, end: End | None) -> int:
    """The port of who does that with connections; None: nobody takes any there."""
    door = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
    port = int(door.getsockname()[1])
    if end is None:
        door.close()
        return port

    def serve() -> None:
        with suppress(OSError):
            while True:
                connection, _ = door.accept()
                with connection:
                    end(connection)

    threading.Thread(target=serve, daemon=True).start()
    return port


def answered(here: Path, port: int, way: str = "", name: str = "127.0.0.1", **data: Any) -> tuple[Answer, str]:
    """Who answered, and what pyinfra says, of a host that is reached by that way of ~/.ssh/config."""
    key = here / "id"
    paramiko.ECDSAKey.generate().write_private_key_file(str(key))
    common = f"IdentityFile {key}\n  StrictHostKeyChecking no\n  UserKnownHostsFile {here / 'known'}\n"
    (here / "known").touch()
    (here / "config").write_text(f"Host the-host\n  HostName {name}\n  Port {port}\n  {way}\nHost *\n  {common}")
    own = {"ssh_hostname": "the-host", "ssh_config_file": str(here / "config"), "ssh_user": "root", **data}
    inventory = Inventory(([("redis-1", {**own, "ssh_port": port, "ssh_strict_host_key_checking": "no"})], {}))
    State(inventory, Config(CONNECT_TIMEOUT=5))
    host = inventory.get_host("redis-1")
    host.connector.state.config.CONNECT_TIMEOUT = 5
    with pytest.raises(ConnectError) as raised:
        connect(host.connector.connect)
    return answer_of(host.connector.client, raised.value), str(raised.value)


DIRECT: dict[str, tuple[End | None, Answer, str]] = {
    "refuses": (None, Answer.REFUSED, "Unable to connect to port"),
    "hangs up": (says(b""), Answer.TOOK, "Error reading SSH protocol banner"),
    "is no SSH": (says(HTTP), Answer.TOOK, ""),
    "greets": (says(GREETING), Answer.GREETED, ""),
    "does not know the key": (sshd(admits=False), Answer.GREETED, "Authentication error"),
}


@pytest.mark.parametrize("it", DIRECT)
def test_a_host_that_answers_in_any_way_is_there(tmp_path: Path, stack: ExitStack, it: str) -> None:
    end, wanted, words = DIRECT[it]
    found, said = answered(tmp_path, listening(stack, end))
    assert (found, found.is_of_the_host, found.may_be_off) == (wanted, True, False), said
    assert words in said


def test_one_that_is_silent_may_be_off(tmp_path: Path, stack: ExitStack) -> None:
    door, first = (stack.enter_context(socket.socket()) for _ in range(2))
    door.bind(("127.0.0.1", 0))
    door.listen(0)
    first.connect(door.getsockname())  # its queue is full: the kernel drops what knocks
    found, said = answered(tmp_path, int(door.getsockname()[1]))
    assert found is Answer.NOBODY, said
    assert found.may_be_off


JUMPS: dict[str, tuple[End | None, Answer, str]] = {
    "is refused": (None, Answer.LED_NOWHERE, "Unable to connect to port"),
    "greets, and hangs up": (says(GREETING), Answer.LED_NOWHERE, ""),
    "hangs up": (says(b""), Answer.LED_NOWHERE, "Error reading SSH protocol banner"),
    "does not know the key": (sshd(admits=False), Answer.LED_NOWHERE, "Authentication"),
    "gets no connection": (sshd(to=FAILED), Answer.LED_NOWHERE, "ChannelException(2, "),
    "leads nobody anywhere": (sshd(to=PROHIBITED), Answer.LED_NOWHERE, "ChannelException(1, "),
    "leads to who hangs up": (sshd(to=says(b"")), Answer.LED_NOWHERE, ""),
    "leads to no SSH": (sshd(to=says(HTTP)), Answer.LED_NOWHERE, ""),
    "leads to who greets": (sshd(to=says(GREETING)), Answer.GREETED, ""),
}


@pytest.mark.parametrize("it", JUMPS)
def test_behind_a_jump_host_only_what_comes_of_the_host_itself_is_its_answer(
    tmp_path: Path, stack: ExitStack, it: str
) -> None:
    end, wanted, words = JUMPS[it]
    way = f"ProxyJump root@127.0.0.1:{listening(stack, end)}"
    found, said = answered(tmp_path, 22, way, name="172.28.2.1")
    assert found is wanted, said
    assert found.may_be_off == (wanted is Answer.LED_NOWHERE)
    assert words in said


PROXIES = {
    "ProxyCommand false": Answer.LED_NOWHERE,
    "ProxyCommand /no/such/program": Answer.LED_NOWHERE,
    "ProxyCommand echo HTTP/1.1 400 Bad Request": Answer.LED_NOWHERE,
    # It hears the other side's greeting out: who cannot greet it is not read either.
    "ProxyCommand sh -c 'echo SSH-2.0-OpenSSH_9.2; head -n 1 >/dev/null'": Answer.GREETED,
}


@pytest.mark.parametrize("way", PROXIES)
def test_behind_a_proxy_command_too(tmp_path: Path, way: str) -> None:
    found, said = answered(tmp_path, 22, way, name="172.28.2.1")
    assert found is PROXIES[way], said


def test_nothing_is_known_of_one_that_was_not_tried(tmp_path: Path) -> None:
    found, said = answered(tmp_path, 22, ssh_key="/no/such/key")
    assert found is Answer.UNTOLD, said
    assert not found.may_be_off


class Client:
    """Of a connection that came to nothing before anybody took it."""

    _transport, _ssh_config = None, {"port": 22}


PLACE = ("172.28.2.1", 22)
REASONS: list[tuple[OSError, Answer]] = [
    (OSError(errno.EHOSTDOWN, "Host is down"), Answer.NOBODY),
    (OSError(errno.EHOSTUNREACH, "No route to host"), Answer.NOBODY),
    (OSError(errno.ENETUNREACH, "Network is unreachable"), Answer.NOBODY),
    (TimeoutError("timed out"), Answer.NOBODY),
    (NoValidConnectionsError({PLACE: OSError(errno.EHOSTUNREACH, "No route to host")}), Answer.NOBODY),
    (NoValidConnectionsError({PLACE: OSError(errno.ECONNREFUSED, "Connection refused")}), Answer.REFUSED),
    (
        NoValidConnectionsError(
            {PLACE: OSError(errno.EHOSTUNREACH, ""), ("::1", 22, 0, 0): OSError(errno.ECONNREFUSED, "")}
        ),
        Answer.REFUSED,
    ),
    (socket.gaierror(-2, "Name or service not known"), Answer.NO_NAME),
    (OSError(errno.EACCES, "Permission denied"), Answer.UNTOLD),
]


@pytest.mark.parametrize(("reason", "wanted"), REASONS)
def test_what_the_kernel_says_is_read_by_its_number(reason: OSError, wanted: Answer) -> None:
    try:
        try:
            raise reason
        except OSError as error:
            raise ConnectError(f"Could not connect ({error})")  # noqa: B904 - as pyinfra does
    except ConnectError as error:
        assert answer_of(Client(), error) is wanted
