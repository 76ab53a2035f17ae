"""Run a command of this repository, as pyinfra's own command line does, against hosts that exist on paper only.

The run happens in a forked process, so nothing of it stays. Every host of the inventory gets pyinfra's fake
connector, which says yes to everything; the one here says so only to what a test has scripted, and records it all.
"""

from __future__ import annotations

import base64
import json
import os
import pickle
import re
import socket
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, ClassVar

import pyinfra_cli.main
import yaml
from paramiko import ChannelException
from pyinfra.api import inventory as pyinfra_inventory
from pyinfra.api.exceptions import ConnectError
from pyinfra.connectors.fake import FakeConnector
from pyinfra.connectors.util import CommandOutput, OutputLine
from pyinfra.context import ctx_state

from tasks.desired.host import Host
from tasks.observed.state import Observed
from tasks.run.session import current
from tests.plan.redis import AnyRedis, Channel, ScriptedRedis
from tests.tree import tree
from tests.unit.builders import VERSION, passwords, roles
from tests.unit.observed.printed import MARK, look_text, printed, sockets_text
from tests.unit.scripts import Call, bare, output_mark, read_call

State = Callable[[Host], Observed]
FRAME = {"mark", "limit"}  # what a reading script puts around what it says


@dataclass(frozen=True)
class Site:
    """One host: the states that its snapshots show, in turn and the last for ever, and the commands it takes.

    A state is a function of what the run wants of the host. `commands`: pattern → what the command prints.
    """

    states: Sequence[State]
    commands: Mapping[str, str] = field(default_factory=dict)
    fails: str | None = None  # a pattern: commands that match do not succeed
    reachable: bool = True
    holds: Sequence[str] = ("held",)  # what the process that holds the host says, in turn and the last for ever
    unreached: Mapping[str, str] = field(default_factory=dict)  # ADDRESS:PORT of others → why it gets no connection
    lenient: bool = False  # its servers let every service administer them
    meanwhile: State | None = None  # what a look right before a login shows
    others: Mapping[tuple[str, int], AnyRedis] = field(default_factory=dict)  # servers of somebody else's


@dataclass(frozen=True)
class Event:
    """One thing that happened to a host: connected, command, or exchange (one Redis command)."""

    host: str
    kind: str
    text: str
    stdin: str = ""
    password: str = field(default="", repr=False)  # that was sent to log in
    to: tuple[str, int] = ("", 0)  # where an exchange went


@dataclass(frozen=True)
class Operation:
    """One operation of the plan, in the order of execution, and the hosts it was planned for."""

    name: str
    hosts: tuple[str, ...]
    labels: tuple[str, ...]  # everything else pyinfra would show of it


@dataclass(frozen=True)
class Result:
    """What a run left: its exit code, its words, what happened to the hosts, and what was planned."""

    exit_code: int
    output: str
    stdout: str
    events: list[Event]
    operations: list[Operation]
    unscripted: list[str]

    def commands(self, host: str) -> list[str]:
        """What was executed on a host beside looking at it and trying things, shortened."""
        return [text for text in self._executed(host) if not text.startswith("trial ") and text not in HARMLESS]

    def trials(self, host: str) -> list[str]:
        """Roles whose configuration was tried on a host."""
        return [text.removeprefix("trial ") for text in self._executed(host) if text.startswith("trial ")]

    def _executed(self, host: str) -> list[str]:
        return [
            short(event.text)
            for event in self.events
            if (event.host, event.kind) == (host, "command") and not is_look(event.text)
        ]

    def looks(self, host: str) -> int:
        """How often a host was looked at."""
        return sum(is_look(event.text) for event in self.events if event.host == host)

    def names(self) -> list[str]:
        """The names of the operations, in their order."""
        return [operation.name for operation in self.operations]

    @property
    def plan(self) -> list[str]:
        """The lines about hosts that were printed, without colours."""
        return [line.strip() for line in self.output.splitlines() if line.strip()]


def is_look(command: str) -> bool:
    """Whether this is the one reading command of a host."""
    run = read_call(command)
    return run is not None and run.name == "look"


def short(command: str) -> str:
    """A command as a test writes it: `write PATH OWNER:GROUP MODE` for the writing of a file, `trial ROLE`."""
    run = read_call(command)
    if run is None:
        if bare(command).startswith("df -k"):
            return "before a restart"
        if bare(command).startswith("grep -LsxF 'user default off ~* &* +@all' "):
            return "may replay"
        return bare(command)
    return _short_call(run)


def _short_call(run: Call) -> str:
    given = run.parameters
    if run.name == "as-role":  # a job in a sandbox
        return short(given["job"])
    if match := re.match("/run/redis-trial-(.*)", given.get("run", "")):
        return f"trial {match[1]}"
    if run.name == "write-file":
        return f"write {given['path']} {given['owner']}:{given['group']} {given['mode']}"
    if run.name == "end-unit":
        return f"end to {given['job']} {given['unit']}"
    if run.name in LOOKS:
        return LOOKS[run.name]
    return " ".join([run.name, *(value for key, value in given.items() if key not in FRAME), *run.arguments])


LOOKS = {
    "read-journals": "said since the start",
    "check-log": "check the log",
    "who-serves": "who serves",
    "knock": "knock",
    "look-apt": "look at apt",
    "apt-holder": "who holds apt",
    "look-now": "this moment",
}
READY = base64.b64encode(b"700:M 26 Nov 2026 01:33:43.103 * Ready to accept connections\n").decode()
WHOLE = "AOF analyzed: filename=f, size=9, ok_up_to=9, ok_up_to_line=3, diff=0\nAll AOF files and manifest are valid\n"
OFFERED = "".join(f"{name} | {VERSION} | main\n" for name in ("redis-server", "redis-tools", "nftables"))
APT = {
    "lists": "2\n",
    "offered": OFFERED,
    "held": "",
    "interrupted": "0\n",
    "simulated": "",
    "unwritable": "",
    "user": "",
    "group": "",
}
NOW = {"time": "1764000000\n", "connections": "", "processes": "", "deploys": ""}
# Looks that find nothing wrong, unless a site says otherwise.
HARMLESS = {
    "may replay": "",
    "said since the start": f"0 {READY}",
    "check the log": WHOLE,
    "who serves": "",
    "knock": "",
    "look at apt": "".join(f"\0{MARK} {part}\n{text}" for part, text in {**APT, "end": ""}.items()),
    "who holds apt": "",
    "this moment": "".join(f"\0{MARK} {part}\n{text}" for part, text in {**NOW, "end": ""}.items()),
}


@dataclass
class Hold:
    """The channel of a process that holds a host, and what it says."""

    said: str
    started: Callable[[str], None]
    noted: Callable[[str], None]
    answer: bytes = b""

    def settimeout(self, seconds: float) -> None:
        """Answers come at once."""

    def exec_command(self, command: str) -> None:
        """Only the holding process is started this way."""
        self.started(command)
        self.answer = f"welcome\n{re.findall('mark=([0-9a-f]{32})', command)[-1]} {self.said}\n".encode()

    def recv(self, size: int) -> bytes:
        """What the holding process says."""
        answer, self.answer = self.answer, b""
        return answer

    def sendall(self, data: bytes) -> None:
        """A sign of life, or a line for the journal of deploys."""
        if data.strip():
            self.noted(data.decode())

    def close(self) -> None:
        """The host is let go."""


class ScriptedConnector(FakeConnector):  # type: ignore[misc]
    """pyinfra's fake connector, but what nobody scripted fails and is remembered."""

    handles_execution = True
    sites: ClassVar[Mapping[str, Site]] = {}
    events: ClassVar[list[Event]] = []
    unscripted: ClassVar[list[str]] = []

    def __init__(self, state: Any, host: Any) -> None:
        super().__init__(state, host)
        self.client = self
        self.seen = 0
        self.asked = 0
        self.site = self.sites[host.name]
        self.servers: dict[str, ScriptedRedis] = {}

    def connect(self) -> None:
        """A connection, where the host is reachable."""
        self.events.append(Event(self.host.name, "connect", ""))
        if not self.site.reachable:
            raise ConnectError("SSH error: timed out")

    def run_shell_command(
        self, command: Any, print_output: bool = False, print_input: bool = False, **arguments: Any
    ) -> tuple[bool, CommandOutput]:
        """The scripted answer."""
        text = command if isinstance(command, str) else command.get_raw_value()
        stdin = arguments.get("_stdin") or ""
        self.events.append(Event(self.host.name, "command", text, "".join(stdin)))
        run, mark = read_call(text), output_mark(text)
        if run is not None and (said := self._looked(run)) is not None:
            return True, _said(mark, said)
        if self.site.fails and re.search(self.site.fails, short(text)):
            return False, _said(mark, "it failed")
        if short(text).startswith("trial "):
            return True, _said(mark, "")
        for pattern, output in {**HARMLESS, **self.site.commands}.items():
            if re.fullmatch(pattern, short(text)):
                if run is not None and run.parameters.keys() >= FRAME:
                    output = printed(output.replace(MARK, run.parameters["mark"]), run.parameters["mark"])
                return True, _said(mark, output)
        self.unscripted.append(f"{self.host.name}: {short(text)}")
        return False, _said(mark, "nobody scripted this command")

    def _looked(self, run: Call) -> str | None:
        """What the scripts say that only look; None of the others."""
        own, unit = run.parameters.get("mark", ""), "".join(run.arguments)
        if run.name == "look":
            return printed(look_text(self._state(), own), own)
        if run.name == "who-serves":
            return printed(sockets_text(self._serving(unit), unit, own), own)
        if run.name == "knock" and self.site.fails != run.name:
            return "\n".join(f"{at} {self.site.unreached.get(at, 'open')}" for at in run.arguments)
        return None

    def put_file(self, *_: Any, **__: Any) -> bool:
        """Nothing is uploaded in this repository."""
        self.unscripted.append(f"{self.host.name}: an upload")
        return False

    get_file = put_file

    def _desired(self) -> Host:
        return current(self.state).tier.hosts[self.host.name]

    def _state(self, of: int | None = None) -> Observed:
        number = self.seen if of is None else of
        self.seen = number + 1
        return self.site.states[min(number, len(self.site.states) - 1)](self._desired())

    def _serving(self, unit: str) -> Observed:
        """The state in which a unit's server answers: the one of the last look, or what the host becomes."""
        if self.site.meanwhile is not None:
            return self.site.meanwhile(self._desired())
        now, last = (self.site.states[number](self._desired()) for number in (self._now(), -1))
        return last if unit and not now.pid(unit) else now

    def _now(self) -> int:
        return min(max(self.seen - 1, 0), len(self.site.states) - 1)

    def get_transport(self) -> ScriptedConnector:
        """As paramiko's client does."""
        return self

    @property
    def sock(self) -> socket.socket:
        """A socket whose options nobody looks at."""
        return socket.socket()

    def is_active(self) -> bool:
        """The connection never breaks."""
        return True

    def set_keepalive(self, seconds: int) -> None:
        """The connection never breaks."""

    def exec_command(self, command: str) -> None:
        """Commands are run by `run_shell_command`."""
        raise AssertionError(command)

    def open_session(self, timeout: float) -> Hold:
        """The channel of the process that holds the host."""
        said = self.site.holds[min(self.asked, len(self.site.holds) - 1)]
        self.asked += 1
        return Hold(
            said,
            lambda command: self.events.append(Event(self.host.name, "hold", command)),
            lambda line: self.events.append(Event(self.host.name, "noted", line)),
        )

    def open_channel(self, kind: str, target: tuple[str, int], origin: tuple[str, int], timeout: float) -> Channel:
        """A channel to the instance that listens there, or the refusal of sshd."""
        assert kind == "direct-tcpip"
        if other := self.site.others.get(target):
            return Channel(other, lambda words: self._sent("another", words, target), self._unscripted)
        last = self.site.states[-1](self._desired())
        now = self.site.states[self._now()](self._desired())
        for instance in self._desired().instances:
            answers = now.servers.get(instance.name) or last.servers.get(instance.name)
            if answers and target[0] in (*instance.bound, instance.role.reached) and target[1] in instance.role.ports:
                known = current(self.state).tier.passwords[self.host.name][instance.name]
                server = self.servers.setdefault(instance.name, ScriptedRedis(instance, answers, {}, self.site.lenient))
                server.state = answers
                server.passwords = {user: text for user, text in known.items() if text}
                return Channel(server, partial(self._sent, instance.name, to=target), self._unscripted)
        raise ChannelException(2, "Connection refused")

    def _unscripted(self, words: str) -> None:
        self.unscripted.append(f"{self.host.name}: {words}")

    def _sent(self, role: str, words: list[str], to: tuple[str, int]) -> None:
        shown, password = ([*words[:-1], "***"], words[-1]) if words[0] == "AUTH" else (words, "")
        self.events.append(Event(self.host.name, "exchange", f"{role}: {' '.join(shown)}", password=password, to=to))


def _said(mark: str, text: str) -> CommandOutput:
    """What a command prints, between its marks if it has any."""
    whole = f"{mark}\n{text}\n{mark}\n" if mark else text
    return CommandOutput([OutputLine("stdout", line) for line in whole.splitlines()])


def write_secrets(path: Path) -> Path:
    """A secrets file with a password for every user of every role."""
    path.write_text(yaml.safe_dump(passwords(*roles().values())))
    path.chmod(0o600)
    return path


def run(
    sites: Mapping[str, Site],
    *arguments: str,
    secrets_file: Path | None,
    inventory: str = "inventory/prod.py",
    command: str = "deploy.py",
    unscripted_is_fine: bool = False,
    types: str | None = None,
    directory: Path | None = None,
    encoding: str = "utf-8",
) -> Result:
    """`pyinfra ARGUMENTS INVENTORY COMMAND` on these hosts; fails when a command came that nobody scripted.

    `secrets_file`: None where the arguments say where passwords are. `types`: what a person types, who sits at a
    terminal then. `directory`: where it is run, not in the repository. `encoding`: of its output.
    """
    file = [] if secrets_file is None else ["--data", f"redis_secrets_file={secrets_file}"]
    argv = ["pyinfra", *arguments, *file, inventory, *command.split()]
    with TemporaryDirectory() as results:
        here = Path(results)
        child = os.fork()
        if child == 0:
            try:
                _in_child(argv, sites, here, types, directory, encoding)
            finally:
                os._exit(70)
        os.waitpid(child, 0)
        stdout = (here / "stdout").read_text(encoding=encoding, errors="replace")
        said = _plain((here / "stderr").read_text(encoding=encoding, errors="replace") + stdout)
        assert (here / "result").exists(), said
        exit_code, events, operations, unscripted = pickle.loads((here / "result").read_bytes())
    assert unscripted_is_fine or not unscripted, f"nobody scripted: {unscripted}\n{said}"
    return Result(exit_code, said, stdout, events, operations, unscripted)


def _plain(text: str) -> str:
    return re.sub(r"\x1b\[[0-9;]*m", "", text)


def _in_child(
    argv: list[str], sites: Mapping[str, Site], here: Path, types: str | None, directory: Path | None, encoding: str
) -> None:
    person, terminal = os.openpty() if types is not None else (-1, os.open(os.devnull, os.O_RDONLY))
    if types is not None:
        os.write(person, types.encode())
    os.dup2(terminal, 0)
    sys.stdin = os.fdopen(0)
    for number, name in ((1, "stdout"), (2, "stderr")):
        os.dup2(os.open(here / name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), number)
    sys.stdout, sys.stderr = (os.fdopen(number, "w", encoding=encoding) for number in (1, 2))
    os.chdir(directory or tree())
    os.environ["PYINFRA_PROGRESS"] = "off"
    os.environ.pop("PYINFRA_YES", None)
    ScriptedConnector.sites, ScriptedConnector.events, ScriptedConnector.unscripted = sites, [], []
    pyinfra_inventory.get_execution_connectors = lambda: {"ssh": ScriptedConnector}
    sys.argv = argv
    exit_code = 70
    try:
        pyinfra_cli.main.main()
    except SystemExit as end:
        exit_code = end.code if isinstance(end.code, int) else 1 if end.code else 0
    except BaseException:
        traceback.print_exc()
    sys.stdout.flush()
    sys.stderr.flush()
    result = exit_code, ScriptedConnector.events, _operations(), ScriptedConnector.unscripted
    (here / "result").write_bytes(pickle.dumps(result))
    os._exit(0)


def _operations() -> list[Operation]:
    state = ctx_state.get() if ctx_state.isset() else None
    if state is None or not state.initialised:
        return []
    return [
        Operation(
            " / ".join(sorted(state.op_meta[op].names)),
            tuple(sorted(host.name for host in state.inventory if op in state.ops[host])),
            tuple(map(str, state.op_meta[op].args)),
        )
        for op in state.get_op_order()
    ]


def json_of(result: Result) -> dict[str, Any]:
    """The JSON that a run with --json printed."""
    read: dict[str, Any] = json.loads(result.stdout)
    return read
