"""A Redis server made of scripted answers, behind the channel that tasks/observed/exchange.py opens. It speaks RESP."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import hiredis

from tasks.catalogue.acl_rules import COMMANDS, PROOF, may
from tasks.desired.host import Instance
from tasks.observed.state import Server, count_keys
from tasks.steps.witness import SCRIPT, SCRIPT_SHA1

DENIED = {
    "count": 2,
    "reason": "auth",
    "object": "user:4711",
    "username": "intruder",
    "age-seconds": "12.5",
    "client-info": "id=3 addr=172.28.2.66:4 name=",
}
BIG = "session:\x1b[2J:4711"  # a name that somebody chose who knows terminals
Answer = object  # str, int, None, list of answers, or Error


@dataclass(frozen=True)
class Error:
    """An error reply."""

    text: str


class Unscripted(Exception):
    """Something was sent that no answer was written for."""


def encode(answer: Answer) -> bytes:
    """An answer in RESP2."""
    if isinstance(answer, Error):
        return f"-{answer.text}\r\n".encode()
    if answer is None:
        return b"$-1\r\n"
    if isinstance(answer, int):
        return f":{answer}\r\n".encode()
    if isinstance(answer, list | tuple):
        return f"*{len(answer)}\r\n".encode() + b"".join(map(encode, answer))
    data = str(answer).encode()
    return f"${len(data)}\r\n".encode() + data + b"\r\n"


def name_of(command: Sequence[str]) -> str:
    """A command as ACLs name it, with its subcommand if it has one."""
    whole = "|".join(command[:2]).lower()
    return whole if whole in COMMANDS else command[0].lower()


@dataclass
class ScriptedRedis:
    """One running instance: it knows its users, answers its operator with `state`, and keeps a client's keys."""

    instance: Instance
    state: Server
    passwords: Mapping[str, str]
    lenient: bool = False
    keys: dict[str, str] = field(default_factory=dict)
    transaction: list[Sequence[str]] | None = None  # what was queued since MULTI

    def answer(self, user: str | None, command: Sequence[str]) -> tuple[str | None, Answer]:
        """Who is logged in after `command`, and the reply to it."""
        if self.state.refusal is not None:
            return user, Error(self.state.refusal.said)
        if command[0] == "AUTH":
            right = self.passwords.get(command[1]) == command[2]
            wrong = Error("WRONGPASS invalid username-password pair or user is disabled.")
            return (command[1], "OK") if right else (user, wrong)
        if user is None:
            return None, Error("NOAUTH Authentication required.")
        if not may(next(item.rules for item in self.instance.users if item.name == user), name_of(command)):
            return user, "yes" if self.lenient else Error("NOPERM this user has no permissions to run the command")
        if self.instance.is_standby and command[0] == "SET":
            return user, Error("READONLY You can't write against a read only replica.")
        return user, self._answer(user, command)

    def _info(self) -> dict[str, str]:
        keys, expires = (number + len(self.keys) for number in count_keys(self.state.info))
        return {**self.state.info, **({"db0": f"keys={keys},expires={expires},avg_ttl=0"} if self.keys else {})}

    def _answer(self, user: str, command: Sequence[str]) -> Answer:
        info = "".join(f"{key}:{value}\r\n" for key, value in self._info().items())
        answers: dict[str, Callable[[], Answer]] = {
            "CONFIG GET *": lambda: _flat(self.state.config),
            "INFO default commandstats": lambda: info,
            "INFO everything": lambda: info,
            "PING": lambda: "PONG",
            f"CLIENT SETNAME {PROOF}": lambda: "OK",
            "INFO stats": lambda: "# Stats\r\nevicted_keys:0\r\n",
            "SLOWLOG GET 10": lambda: [[1, 1700000000, 12000, ["SET", "user:4711", "secret"], "172.28.2.9:1", "name"]],
            "LATENCY LATEST": lambda: [["command", 1700000000, 120, 250]],
            "ACL LOG 128": lambda: [_flat(DENIED)],
            "INFO server": lambda: f"# Server\r\nrun_id:{self.state.info['run_id']}\r\n",
            "ACL USERS": lambda: list(self.state.users),
            "EVAL return 1 0": lambda: 1,
            "CLIENT LIST": lambda: "".join(
                f"id=1 addr={item.address} age={item.age} user={item.user} cmd=get\n" for item in self.state.clients
            ),
        }
        text = " ".join(command)
        if command[0] in ("PUBLISH", "FCALL") or name_of(command) == "script|exists":
            return {"PUBLISH": 0, "FCALL": Error("ERR Function not found"), "SCRIPT": [1]}[command[0]]
        if text in answers:
            return answers[text]()
        if user == "operator" and command[0] in ("SELECT", "SCAN", "MEMORY"):
            return {"SELECT": "OK", "SCAN": ["0", [BIG]], "MEMORY": 123 << 20}[command[0]]
        if command[:2] == ["ACL", "CAT"] and command[2] in self.state.categories:
            return sorted(self.state.categories[command[2]])
        if command[:2] == ["ACL", "GETUSER"]:
            return _flat(self.state.users[command[2]]) if command[2] in self.state.users else None
        if command[:2] in (["CONFIG", "SET"], ["ACL", "SETUSER"], ["ACL", "DELUSER"]) and user == "operator":
            return "OK"
        return self._written(command)

    def _written(self, command: Sequence[str]) -> Answer:
        """The reply to a client that reads and writes, also in a transaction and by the script of the witnesses."""
        if command[0] == "MULTI":
            self.transaction = []
            return "OK"
        if command[0] == "EXEC" and self.transaction is not None:
            queued, self.transaction = self.transaction, None
            return [self._key(item) for item in queued]
        if self.transaction is not None:
            self.transaction.append(command)
            return "QUEUED"
        if tuple(command[:2]) in (("EVAL", SCRIPT), ("EVALSHA", SCRIPT_SHA1)):
            count = int(command[2])
            for key in command[3 : 3 + count]:
                self._key(["SET", key, command[3 + count]])
            return count
        return self._key(command)

    def _key(self, command: Sequence[str]) -> Answer:
        name, *names = command
        if name == "EXISTS" and len(names) == 1 and ":" not in names[0]:
            return 0  # of nobody
        if not all(key.startswith("caas-verify:") for key in names[:1]):
            raise Unscripted(" ".join(command))
        if name == "SET":
            self.keys[names[0]] = names[1]
            return "OK"
        answers: dict[str, Callable[[], Answer]] = {
            "GET": lambda: self.keys.get(names[0]),
            "MGET": lambda: [self.keys.get(key) for key in names],
            "DEL": lambda: sum(self.keys.pop(key, None) is not None for key in names),
            "EXISTS": lambda: sum(key in self.keys for key in names),
        }
        answers["UNLINK"] = answers["DEL"]
        if name not in answers:
            raise Unscripted(" ".join(command))
        return answers[name]()


class AnyRedis(Protocol):
    """Whatever answers."""

    def answer(self, user: str | None, command: Sequence[str]) -> tuple[str | None, Answer]:
        """Who is logged in after `command`, and the reply to it."""


@dataclass(frozen=True)
class OtherRedis:
    """A server that this repository did not write: it knows one password or none, and says what is scripted."""

    answers: Mapping[str, Answer]
    password: str | None = None

    def answer(self, user: str | None, command: Sequence[str]) -> tuple[str | None, Answer]:
        """Who is logged in after `command`, and the reply to it."""
        if command[0] == "AUTH":
            right = self.password in command[1:]
            return ("default", "OK") if right else (user, Error("WRONGPASS invalid username-password pair"))
        if self.password is not None and user is None:
            return None, Error("NOAUTH Authentication required.")
        text = " ".join(command)
        if text not in self.answers:
            raise Unscripted(text)
        return user, self.answers[text]


def _flat(mapping: Mapping[str, object]) -> list[Answer]:
    return [item for pair in mapping.items() for item in pair]


class Channel:
    """A direct-tcpip channel to a scripted instance; `sent` is told every command."""

    def __init__(self, redis: AnyRedis, sent: Callable[[list[str]], None], unscripted: Callable[[str], None]) -> None:
        self.redis, self.sent, self.unscripted = redis, sent, unscripted
        self.user: str | None = None
        self.reader = hiredis.Reader(encoding="utf-8")
        self.pending = b""

    def settimeout(self, seconds: float) -> None:
        """Answers come at once."""

    def close(self) -> None:
        """Nothing to give back."""

    def sendall(self, data: bytes) -> None:
        """Take commands and keep their replies ready."""
        self.reader.feed(data)
        while (command := self.reader.gets()) is not False:
            assert isinstance(command, list)
            words = [str(word) for word in command]
            self.sent(words)
            try:
                self.user, answer = self.redis.answer(self.user, words)
            except Unscripted as error:
                self.unscripted(str(error))
                answer = Error("ERR nobody scripted this command")
            self.pending += encode(answer)

    def recv(self, size: int) -> bytes:
        """The next bytes of the replies."""
        data, self.pending = self.pending[:size], self.pending[size:]
        return data
