"""Where a drill takes place: an instance on its host, and what is done there in one line."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from pyinfra import logger
from pyinfra.api.host import Host
from pyinfra.api.state import State

from tasks.catalogue.acl_rules import OPERATOR, RESERVED_PREFIX
from tasks.catalogue.roles import Role
from tasks.compare.difference import Difference
from tasks.compare.unknown import Unknown
from tasks.compare.unwell import Health
from tasks.desired.host import Instance, Passwords
from tasks.drills.client import Client, DrillFailed
from tasks.observed.bounds import BACK_PATIENCE, CHANGE
from tasks.observed.connection import run_command
from tasks.observed.exchange import ExchangeError, Reply, ReplyError, info_fields
from tasks.observed.own_server import exchange_as
from tasks.run.session import current
from tasks.run.survey import Look, look

PREFIX = f"{RESERVED_PREFIX}drill"  # of the keys of drills
JOURNAL, LAST_LINES = (
    60,
    4,
)  # lines of a journal that are read, and shown: why a start failed, and systemd's word about it


@dataclass(frozen=True)
class Place:
    """An instance on its host, with the passwords of its users."""

    state: State
    host: Host
    instance: Instance
    passwords: Passwords = field(repr=False)
    _kept: dict[str, Client] = field(default_factory=dict, repr=False)  # the operator's connection, while it holds

    @property
    def name(self) -> str:
        return self.instance.name

    @property
    def role(self) -> Role:
        return self.instance.role

    @property
    def unit(self) -> str:
        return self.instance.unit

    def password(self, user: str) -> str:
        """That of one of its users; empty for one that has none."""
        return self.passwords[self.name].get(user) or ""

    def client(self, user: str, password: str | None = None, check: bool = True) -> Client:
        """A connection of one of its users, which stays. Raises ExchangeError; `check`: see Client."""
        return Client(self.host, self.instance, user, password or self.password(user), check)

    def ask(self, user: str, *commands: tuple[str, ...]) -> list[Reply]:
        """Replies to `commands` of a user who logs in for them. Raises DrillFailed when that is not possible."""
        where = (self.instance.address, self.role.port)
        try:
            first, replies = exchange_as(self.host, self.unit, where, (user, self.password(user)), commands)
        except ExchangeError as error:
            raise DrillFailed(f"{self.name}: {error}") from error
        if isinstance(first, ReplyError):
            raise DrillFailed(f"{self.name}: {user} logs in: {first}")
        return replies

    def operator(self, *command: str) -> Reply:
        """The operator's answer, over a connection that stays. Raises DrillFailed for an error."""
        try:
            reply = self._operator(command)
        except ExchangeError:
            try:
                reply = self._operator(command)
            except ExchangeError as error:
                raise DrillFailed(f"{self.name}: {error}") from error
        if isinstance(reply, ReplyError):
            raise DrillFailed(f"{self.name}: {' '.join(command[:2])}: {reply}")
        return reply

    def _operator(self, command: tuple[str, ...]) -> Reply:
        if OPERATOR not in self._kept:
            client = self.client(OPERATOR)
            if isinstance(client.greeting, ReplyError):
                client.close()
                return client.greeting
            self._kept[OPERATOR] = client
        try:
            (reply,) = self._kept[OPERATOR].ask(command)
        except ExchangeError:  # the server ended, or the machine
            self._kept.pop(OPERATOR).close()
            raise
        return reply

    def let_go(self) -> None:
        """The operator's connection is closed: it counts as a client."""
        for client in self._kept.values():
            client.close()
        self._kept.clear()

    def info(self, *sections: str) -> dict[str, str]:
        """Fields of INFO. Raises DrillFailed."""
        try:
            return info_fields(self.operator("INFO", *sections))
        except ExchangeError as error:
            raise DrillFailed(f"{self.name}: {error}") from error

    def sh(self, command: str) -> str:
        """What a command prints on the host. Raises DrillFailed when it fails."""
        return sh(self.state, self.host, command)

    def answers(self) -> bool:
        """Whether a service gets an answer from a loaded server."""
        try:
            with self.client(self.role.services[0]) as client:
                return client.ask(("PING",)) == ["PONG"]
        except (DrillFailed, ExchangeError):
            return False

    def wait_until_back(self) -> float:
        """Seconds until a service is answered. Raises DrillFailed after BACK_PATIENCE."""
        return self.wait_for("does not serve again", self.answers)

    def wait_for(self, else_: str, condition: Callable[[], bool]) -> float:
        """Seconds until `condition` held. Raises DrillFailed after BACK_PATIENCE: `else_`, and what its unit says."""
        try:
            return wait_for(f"{self.name} {else_}", condition)
        except DrillFailed as error:
            raise DrillFailed(f"{error}: {self.unit_says()}") from None

    def process(self) -> str:
        """The number of its server's process; 0 where it does not run. Raises DrillFailed."""
        return self.sh(f"systemctl show -P MainPID {self.unit}").strip()

    def unit_says(self) -> str:
        """The state of its unit, and below it the last lines of its journal."""
        names = ("ActiveState", "SubState", "NRestarts")
        try:
            shown = self.sh(f"systemctl show -p {','.join(names)} {self.unit}").splitlines()
            active, sub, restarts = (dict(line.split("=", 1) for line in shown)[name] for name in names)
            lines = self.sh(f"journalctl --quiet --no-pager -n {JOURNAL} -o cat -u {self.unit}").splitlines()
        except (DrillFailed, ValueError, KeyError) as error:
            return f"{self.unit}: unknown: {error}"
        state = f"{self.unit} is {active} ({sub}, started again {restarts} times)"
        return "\n".join([state, *(f"its journal: {line}" for line in last_words(lines))])

    def calm_down(self) -> None:
        """What the drill made the server and systemd count is counted anew: nobody takes it for trouble later."""
        self.operator("CONFIG", "RESETSTAT")
        self.sh(f"systemctl reset-failed {self.unit}")

    def look(self) -> Look:
        """The host as a check sees it now."""
        return look(self.state, current(self.state), self.host)

    def said_of_it(self, seen: Look | None = None) -> list[str]:
        """Every difference, unknown and health finding of this role or its host, as verify and drift say it."""
        seen = seen or self.look()
        if seen.observed is None:
            return [seen.error]
        found: list[Difference | Unknown | Health] = [*seen.differences, *seen.unknown, *seen.health]
        return [str(item) for item in found if item.role in (self.name, None)]

    def must_be_well(self, what: str) -> None:
        """Nothing of the role or its host differs, is unknown or critical after `what`. Raises DrillFailed."""
        seen = self.look()
        if left := [line for line in self.said_of_it(seen) if " warning " not in line]:
            raise DrillFailed(f"{self.name}: after {what}: {'; '.join(left)[:400]}")


def last_words(journal: Sequence[str]) -> list[str]:
    """What a unit said right before its process ended, for the last time; its last lines where none did. Pure."""
    lines = [line.strip() for line in journal if line.strip()]
    ends = [number for number, line in enumerate(lines, 1) if " process exited, " in line]
    return lines[: ends[-1] if ends else None][-LAST_LINES:]


def sh(state: State, host: Host, command: str) -> str:
    """What a command prints on a host. Raises DrillFailed when it fails."""
    done = run_command(state, host, command, bound=CHANGE)
    if not done.succeeded:
        raise DrillFailed(f"{host.name}: {command.split(chr(10))[0][:80]}: {done.output.strip()[-300:] or 'failed'}")
    return done.stdout


def wait_for(what: str, condition: Callable[[], bool], patience: float = BACK_PATIENCE, step: float = 0.3) -> float:
    """Seconds until `condition` held. Raises DrillFailed, `what` is wrong, after `patience`."""
    began = time.monotonic()
    while not condition():
        if time.monotonic() - began > patience:
            raise DrillFailed(f"{what}, for {patience:.0f} s now")
        time.sleep(step)
    return time.monotonic() - began


def say(host: Host, text: str) -> None:
    """One line of progress."""
    logger.info(f"{host.print_prefix}{text}")
