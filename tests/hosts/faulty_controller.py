"""pyinfra with one fault: a program that runs pyinfra's own command line and breaks it at one point of its execution.

The environment variable FAULT holds JSON: `kind` (see ACTIONS), `past` (labels of points that an earlier run was broken
at already, which this run passes unharmed), `at` (the one operation to be broken; any when empty) and `report` (the
file that gets the label of this run's point).
Nothing of the product is replaced: the hooks sit in pyinfra's operation loop and in the SSH client below it.
"""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pyinfra_cli.main import main  # isort: skip  # first: it makes sockets and threads gevent's

import gevent
import paramiko
from pyinfra.api import operations
from pyinfra.connectors import ssh
from pyinfra.connectors.util import CommandOutput, OutputLine

from tests.unit.scripts import bare, read_call

FAULT = json.loads(os.environ["FAULT"])
BEFORE = ("kill before", "pause")  # happen once an operation, before anything of it
SENDING = ("fail", "cut")  # happen once an operation, instead of its first command that acts, or right before it
BEHIND = ("kill during", "drop")  # happen when a command was sent and before its result is known
# `kill during` happens at each command, all others once an operation.
# What an operation asks before it acts: a fault there is the same as one before the operation.
LOOKS = re.compile(
    r"test -s |look |look-apt |who-serves |date \+|case \$\(systemctl show |"
    r"! \(? ?(test|command)|.*(\|\| ls -ld |dpkg -l)"
)
CHANGING_REDIS = re.compile(rb"\r\n(SET|DELUSER|SETUSER|REWRITE)\r\n", re.IGNORECASE)
PROOF = "Prove the tier"  # acts by looking


class Breaker:
    """Where the run is, and whether its one fault has happened."""

    def __init__(self) -> None:
        self.state: Any = None
        self.operation = ""
        self.acted = False  # whether the current operation has done anything remote
        self.over = False
        self.sending = ""  # the command about to be sent

    def enter(self, state: Any, operation: str) -> None:
        self.state, self.operation, self.acted = state, operation, False
        if FAULT["kind"] in BEFORE:
            self.happens(operation)

    def leave(self) -> None:
        if not self.acted and FAULT["kind"] in BEHIND:
            self.happens(self.operation)
        self.operation = ""

    def acts(self, command: str) -> bool:
        """Whether a command of the current operation is more than a look."""
        acting = bool(self.operation) and (not LOOKS.match(command) or self.operation == PROOF)
        self.acted = self.acted or acting
        return acting

    def refuses(self) -> bool:
        """Whether the command that is about to be sent has to fail instead."""
        return FAULT["kind"] in SENDING and self.happens(self.operation) and FAULT["kind"] == "fail"

    def sent(self, command: str) -> None:
        """A command that acts is on its way, its result is not known yet."""
        if FAULT["kind"] in BEHIND:
            self.happens(f"{self.operation}: {command}" if FAULT["kind"] == "kill during" else self.operation)

    def happens(self, label: str) -> bool:
        """The fault happens here, unless it did already or an earlier run was broken here."""
        label = " ".join(label.split())  # as it comes back from the report
        if self.over or label in FAULT["past"] or FAULT["at"] not in ("", self.operation):
            return False
        self.over = True
        with Path(FAULT["report"]).open("a") as report:
            report.write(f"{label}\n")
        ACTIONS[FAULT["kind"]](self)
        return True


def kill(breaker: Breaker) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def drop(breaker: Breaker) -> None:
    """Every SSH connection ends at once, as by a firewall that resets it."""
    for host in breaker.state.inventory.get_active_hosts():
        host.connector.client.get_transport().sock.shutdown(socket.SHUT_RDWR)


def cut(breaker: Breaker) -> None:
    """No packet goes through any more, in either direction, and nobody is told."""
    subprocess.run(["ip", "link", "set", "br0", "down"], check=True)


def pause(breaker: Breaker) -> None:
    """The run stands still here until somebody writes another line into the report."""
    while len(Path(FAULT["report"]).read_text().splitlines()) < 2:
        time.sleep(0.05)


ACTIONS: dict[str, Callable[[Breaker], None]] = {
    "kill before": kill,
    "kill during": kill,
    "drop": drop,
    "cut": cut,
    "pause": pause,
    "fail": lambda breaker: None,
}
breaker = Breaker()
inside: set[Any] = set()  # greenlets that run a command through pyinfra's connector


def around(owner: Any, name: str) -> Callable[[Callable[..., Any]], None]:
    """The decorated function replaces `owner.name`; it gets the original as its first argument."""

    def replace(function: Callable[..., Any]) -> None:
        original = getattr(owner, name)
        setattr(owner, name, lambda *args, **kwargs: function(original, *args, **kwargs))

    return replace


@around(operations, "_run_single_op")
def run_operation(original: Callable[..., Any], state: Any, op_hash: str) -> None:
    breaker.enter(state, ", ".join(state.get_op_meta(op_hash).names))
    original(state, op_hash)
    breaker.leave()


def named(command: str) -> str:
    """What a command does, in the same words in every run."""
    run = read_call(command)
    if run is None:
        return " ".join(bare(command).split())
    known = {
        key: value for key, value in run.parameters.items() if key not in ("mark", "config", "unit_text", "digest")
    }
    return (
        f"write {known['path']}" if run.name == "write-file" else " ".join([run.name, *known.values(), *run.arguments])
    )


@around(ssh.SSHConnector, "run_shell_command")
def run_command(original: Callable[..., Any], connector: Any, command: Any, *args: Any, **kwargs: Any) -> Any:
    text = named(command if isinstance(command, str) else command.get_raw_value())
    if breaker.acts(text):
        if breaker.refuses():
            return False, CommandOutput([OutputLine("stderr", "the fault: this command was not sent")])
        breaker.sending = "a look" if LOOKS.match(text) else text[-100:]
    inside.add(gevent.getcurrent())
    try:
        return original(connector, command, *args, **kwargs)
    finally:
        inside.discard(gevent.getcurrent())


@around(paramiko.Channel, "exec_command")
def run_on_channel(original: Callable[..., Any], channel: Any, command: str) -> None:
    """A command that pyinfra does not wait for: what it prints is read while the run goes on."""
    own = gevent.getcurrent() not in inside and breaker.acts(command)
    if own and breaker.refuses():
        raise paramiko.SSHException("the fault: this command was not sent")
    original(channel, command)
    if own:
        breaker.sent("on a channel of its own")


@around(ssh, "write_stdin")
def write_input(original: Callable[..., Any], lines: Any, channel: Any) -> Any:
    """A killed controller sends half of a command's input: no file may ever be seen so."""
    text = "".join(lines)
    if FAULT["kind"] != "kill during" or not breaker.sending:
        return original(lines, channel)
    channel.write(text[: len(text) // 2])
    channel.flush()
    breaker.sent(breaker.sending)
    return original([text[len(text) // 2 :]], channel)


@around(ssh, "read_output_buffers")
def read_output(original: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """The command runs, nothing of it has been heard yet."""
    command, breaker.sending = breaker.sending, ""
    if command:
        breaker.sent(command)
    return original(*args, **kwargs)


@around(paramiko.Transport, "open_channel")
def open_channel(original: Callable[..., Any], transport: Any, kind: str, *args: Any, **kwargs: Any) -> Any:
    """A connection to Redis: the fault happens behind the first commands that change something."""
    if kind != "direct-tcpip" or not breaker.operation:
        return original(transport, kind, *args, **kwargs)
    channel = original(transport, kind, *args, **kwargs)
    sendall, where = channel.sendall, "{}:{}".format(*args[0])

    def send(data: bytes) -> None:
        acts = bool(CHANGING_REDIS.search(data)) or breaker.operation == PROOF
        breaker.acted = breaker.acted or acts
        if acts and breaker.refuses():
            raise paramiko.SSHException("the fault: nothing was sent")
        sendall(data)
        if acts:
            breaker.sent(where)

    channel.sendall = send
    return channel


if __name__ == "__main__":
    sys.exit(main())
