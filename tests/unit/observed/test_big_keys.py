"""The biggest keys of a server, by a sample: bounded in calls and time, of every database; the rest is said."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.observed.big_keys import COUNT, ROUNDS, SECONDS, SHOWN, Command, biggest_keys, databases_in
from tasks.observed.exchange import Reply, ReplyError
from tasks.observed.moment import BigKey, BigKeys
from tasks.observed.replies import StrangeReply

Data = Mapping[int, Mapping[str, int]]  # database → name → size


@dataclass
class Keys:
    """Databases of keys that answer as Redis does; cursors are places in a list. It notes what it was asked."""

    data: Data
    sent: list[Command] = field(default_factory=list)
    rounds: int = 0

    def ask(self, commands: list[Command]) -> list[Reply]:
        self.rounds += 1
        self.sent += commands
        database = 0
        replies: list[Reply] = []
        for command in commands:
            if command[0] == "SELECT":
                database = int(command[1])
                replies.append("OK")
            else:
                replies.append(self._reply(command, self.data.get(database, {})))
        return replies

    def _reply(self, command: Command, keys: Mapping[str, int]) -> Reply:
        if command[0] == "SCAN":
            names, at = list(keys), int(command[1]) % max(1, len(keys))
            end = at + int(command[3])
            return [str(end if end < len(names) else 0), [*names[at:end]]]
        assert command[:2] == ("MEMORY", "USAGE")
        return keys.get(command[2])


def sampled(data: Data, clock: Callable[[], float] = lambda: 0.0, begin: int = 7) -> tuple[BigKeys, Keys]:
    keys = Keys(data)
    known = {number: len(own) for number, own in data.items()}
    return biggest_keys(keys.ask, known, clock, lambda: begin), keys


@given(st.dictionaries(st.integers(0, 15), st.dictionaries(st.text(max_size=6), st.integers(1, 1 << 40)), max_size=5))
def test_of_few_keys_the_biggest_of_all_databases_are_told(data: Data) -> None:
    data = {number: keys for number, keys in data.items() if keys}
    found, _ = sampled(data)
    every = [BigKey(number, name, size) for number, keys in data.items() for name, size in keys.items()]
    assert (found.keys, found.seen, found.untold) == (len(every), len(every), "")
    assert [item.size for item in found.biggest] == sorted((item.size for item in every), reverse=True)[:SHOWN]
    assert found.whole


def test_of_many_keys_no_more_are_asked_than_the_bound_and_each_database_has_its_share() -> None:
    data = {0: {f"many:{n}": n for n in range(100_000)}, 3: {f"some:{n}": 1 << 30 for n in range(20_000)}}
    data[9] = {f"few:{n}": 1 << 40 for n in range(300)}
    found, keys = sampled(data)
    scans = [command for command in keys.sent if command[0] == "SCAN"]
    assert len(scans) == ROUNDS
    assert keys.rounds == ROUNDS + 1
    assert found.seen <= ROUNDS * COUNT
    assert not found.whole
    assert found.keys == 120_300
    weighed = [command[2] for command in keys.sent if command[0] == "MEMORY"]
    assert {name for name in weighed if name.startswith("few:")} == data[
        9
    ].keys()  # seen in one go, wherever others begin
    assert found.biggest[0].database == 9
    assert any(name.startswith("some:") for name in weighed)


def test_a_sample_begins_anywhere_so_that_the_next_one_sees_others() -> None:
    data = {0: {f"many:{n}": n + 1 for n in range(100_000)}}
    one, other = (sampled(data, begin=begin)[0] for begin in (0, 50_000))
    assert {item.name for item in one.biggest}.isdisjoint(item.name for item in other.biggest)


def test_nothing_more_is_asked_when_the_time_is_over() -> None:
    moments = count(0.0, SECONDS / 4)
    found, keys = sampled({0: {f"many:{n}": n + 1 for n in range(100_000)}}, lambda: next(moments))
    assert keys.rounds <= 6
    assert 0 < found.seen < ROUNDS * COUNT
    assert found.biggest


def test_nothing_is_sent_but_what_reads_names_and_sizes() -> None:
    _, keys = sampled({0: {"a": 1}, 2: {"b": 2}})
    assert {command[0] for command in keys.sent} == {"SELECT", "SCAN", "MEMORY"}
    assert all(command[1] == "USAGE" and command[3] == "SAMPLES" for command in keys.sent if command[0] == "MEMORY")


def test_a_key_that_went_meanwhile_is_none_and_one_whose_name_is_no_text_is_counted() -> None:
    keys = Keys({0: {"there": 7, "binary\ufffd": 9}})

    def ask(commands: list[Command]) -> list[Reply]:
        replies = keys.ask(commands)
        for place, command in enumerate(commands):
            if command[0] == "SCAN":
                replies[place] = ["0", ["there", "gone", "binary\ufffd"]]
            elif command[:3] == ("MEMORY", "USAGE", "binary\ufffd"):
                replies[place] = None
        return replies

    found = biggest_keys(ask, {0: 3}, lambda: 0.0)
    assert (found.biggest, found.unreadable) == ((BigKey(0, "there", 7),), 1)
    assert not found.whole


@pytest.mark.parametrize("said", ["BUSY Redis is busy running a script.", "NOPERM this user has no permissions"])
@pytest.mark.parametrize("of", ["SELECT", "SCAN", "MEMORY"])
def test_what_the_server_does_not_tell_is_said_and_ends_it(said: str, of: str) -> None:
    keys = Keys({0: {f"k{n}": 5 for n in range(5000)}})

    def ask(commands: list[Command]) -> list[Reply]:
        pairs = zip(commands, keys.ask(commands), strict=True)
        return [ReplyError(said) if command[0] == of else reply for command, reply in pairs]

    found = biggest_keys(ask, {0: 5000}, lambda: 0.0)
    assert said in found.untold
    assert keys.rounds <= 2


@pytest.mark.parametrize("reply", ["OK", [], ["x", []], ["0", [["a"]]], ["0", "a"], ["9" * 30, []]])
def test_what_no_redis_says_to_scan_is_refused(reply: Reply) -> None:
    with pytest.raises(StrangeReply):
        biggest_keys(lambda commands: ["OK"] * (len(commands) - 1) + [reply], {0: 1}, lambda: 0.0)


def test_a_server_that_lists_more_than_it_was_asked_for_makes_nobody_ask_for_all_of_it() -> None:
    names: list[Reply] = [f"k{n}" for n in range(90_000)]
    sent: list[Command] = []

    def ask(commands: list[Command]) -> list[Reply]:
        sent.extend(commands)
        return [["0", names] if command[0] == "SCAN" else "OK" if command[0] == "SELECT" else 1 for command in commands]

    found = biggest_keys(ask, {0: 90_000}, lambda: 0.0, lambda: 0)
    assert len(sent) <= 2 * ROUNDS * (COUNT + 3)
    assert found.seen <= 2 * ROUNDS * COUNT


def test_the_databases_in_use_are_those_of_info() -> None:
    info = {"db0": "keys=5,expires=0,avg_ttl=0", "db12": "keys=7,expires=1", "dbs": "no", "used_memory": "5"}
    assert databases_in(info) == {0: 5, 12: 7}
