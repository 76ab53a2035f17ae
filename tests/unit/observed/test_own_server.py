"""Who answers where a unit's server is spoken to (tasks/observed/own_server.py): nobody else gets its passwords."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from tasks.compare.host import compare
from tasks.compare.unknown import unknowns
from tasks.desired.paths import INNER_PORT_TABLE
from tasks.observed.look import endpoint
from tasks.observed.nft import takings
from tasks.observed.own_server import is_led_inward, listens_at, own_endpoint, read_sockets, sockets_of
from tasks.observed.refusal import Cause, Refusal
from tasks.observed.state import Listener, Observed, Server, Unseen
from tests.tree import REPOSITORY
from tests.unit.builders import as_desired, desired, stopped, with_listener, with_unit
from tests.unit.observed.printed import MARK, sockets_text

TASKS = REPOSITORY / "tasks"

UNIT, ADDRESS, PORT = "redis-crypto.service", "172.28.2.5", 6383
HOST = desired("crypto")
RIGHT = as_desired(HOST)
Change = Callable[[Observed], Observed]


def ruled(rule: str, table: str = "theirs") -> Change:
    """A rule of somebody's on the host."""
    lines = ["chain out {", "type nat hook output priority -100; policy accept;", rule]
    return lambda observed: replace(observed, takings=tuple(takings({table: lines})))


def led(*forward: object) -> Change:
    """A rule of its form in our own table, that this tool did not write."""
    return lambda observed: replace(observed, forwards=observed.forwards | {forward})  # type: ignore[arg-type]


def heard(address: str, process: str = "nc", pid: int = 4711) -> Change:
    """Another process listens on the port."""
    return lambda observed: with_listener(observed, address, PORT, process, pid)


def without_listeners(observed: Observed) -> Observed:
    """Only somebody else listens, elsewhere."""
    return replace(observed, listeners=(Listener("0.0.0.0", 22, "sshd", 9),))


OTHERS: dict[str, tuple[Change, Cause]] = {
    "it does not run": (lambda seen: stopped(seen, "crypto"), Cause.NOT_ITS_OWN),
    "it does not run, and another answers": (lambda seen: heard(ADDRESS)(stopped(seen, "crypto")), Cause.NOT_ITS_OWN),
    "it runs and does not listen": (without_listeners, Cause.NOT_ITS_OWN),
    "it does not listen, and another does": (lambda seen: heard(ADDRESS)(without_listeners(seen)), Cause.NOT_ITS_OWN),
    "another has the same address and port": (heard(ADDRESS), Cause.TAKEN),
    "another has it, whose name and pid nobody sees": (heard(ADDRESS, "", 0), Cause.TAKEN),
    "another that is called Redis has it": (heard(ADDRESS, "redis-server"), Cause.TAKEN),
    "another listens on every address": (heard("0.0.0.0"), Cause.TAKEN),
    "another listens on every address of both kinds": (heard("*"), Cause.TAKEN),
    "another listens on every address of IPv6": (heard("::"), Cause.TAKEN),
    "a rule leads to another host": (ruled(f"ip daddr {ADDRESS} tcp dport {PORT} dnat to 10.0.0.9:1"), Cause.TAKEN),
    "a rule leads to another port": (ruled(f"tcp dport {PORT} redirect to :7000"), Cause.TAKEN),
    "a rule hands it to another socket": (ruled(f"tcp dport {PORT} tproxy to 127.0.0.1:7000"), Cause.TAKEN),
    "a rule in our table does": (ruled(f"tcp dport {PORT} redirect to :7000", INNER_PORT_TABLE), Cause.TAKEN),
    "a rule of our form does": (led("output", ADDRESS, PORT, f"{ADDRESS}:7000"), Cause.TAKEN),
    "its address is another host's": (lambda seen: replace(seen, addresses=frozenset()), Cause.NOT_ITS_OWN),
    "nft did not say": (lambda seen: replace(seen, unseen={"forwards": Unseen("nft ended with 1")}), Cause.TAKEN),
    "ss did not say": (lambda seen: replace(seen, unseen={"listeners": Unseen("ss ended with 1")}), Cause.TAKEN),
}


@pytest.mark.parametrize(("change", "cause"), OTHERS.values(), ids=OTHERS)
def test_nobody_logs_in_where_another_than_the_units_process_may_answer(change: Change, cause: Cause) -> None:
    refused = endpoint(HOST.instances[0], change(RIGHT))
    assert isinstance(refused, Refusal), refused
    assert refused.cause is cause


@pytest.mark.parametrize(("change", "cause"), OTHERS.values(), ids=OTHERS)
def test_nobody_logs_in_there_either_who_looks_again_right_before(change: Change, cause: Cause) -> None:
    pid, seen = read_sockets(sockets_text(change(RIGHT), UNIT), MARK)
    refused = own_endpoint(pid, (ADDRESS, PORT), seen)
    assert isinstance(refused, Refusal), refused
    assert refused.cause is cause


FINE: dict[str, Change] = {
    "as desired": lambda seen: seen,
    "another listens on another port": lambda seen: with_listener(seen, ADDRESS, 6400),
    "another listens on another address": heard("127.0.0.1"),
    "a child of its own still has the socket": lambda seen: replace(
        seen, listeners=(Listener(ADDRESS, PORT, "redis-server", 4711, (seen.pid(UNIT),)),)
    ),
    "it listens on every address": lambda seen: replace(
        seen, listeners=(Listener("0.0.0.0", PORT, "redis-server", seen.pid(UNIT)),)
    ),
    "a rule takes another port": ruled("tcp dport 8080 redirect to :80"),
    "a rule takes another address": ruled("ip daddr 10.0.0.9 redirect to :80"),
    "df did not say": lambda seen: replace(seen, unseen={"disk": Unseen("df ended with 1")}),
}


@pytest.mark.parametrize("change", FINE.values(), ids=FINE)
def test_what_takes_no_connection_of_its_own_keeps_nobody_out(change: Change) -> None:
    seen = change(RIGHT)
    assert endpoint(HOST.instances[0], seen) == (ADDRESS, PORT)
    assert sockets_of(seen) == sockets_of(RIGHT) or seen != RIGHT


def test_the_look_right_before_a_login_reads_what_the_whole_look_reads() -> None:
    assert read_sockets(sockets_text(RIGHT, UNIT), MARK) == (RIGHT.pid(UNIT), sockets_of(RIGHT))
    assert read_sockets(sockets_text(RIGHT, ""), MARK)[0] == 0


def test_of_no_process_nothing_listens() -> None:
    assert listens_at(0, (ADDRESS, PORT), (Listener(ADDRESS, PORT, "", 0),)) is None


def test_that_another_takes_its_connections_is_unknown_leaves_the_role_alone_and_says_who() -> None:
    rule = f"ip daddr {ADDRESS} tcp dport {PORT} dnat to 10.0.0.9:1"
    seen = ruled(rule)(RIGHT)
    refused = endpoint(HOST.instances[0], seen)
    assert isinstance(refused, Refusal)
    seen = replace(seen, servers={"crypto": Server(refusal=refused)})
    (found,) = compare(HOST, seen)
    assert (found.subject, found.name, found.observed) == ("listener", f"{ADDRESS}:{PORT}", f"theirs: {rule}")
    (unknown,) = unknowns(HOST, seen)
    assert rule in unknown.because
    assert "remove that rule" in unknown.remedy


INNER = 6379


@pytest.mark.parametrize(
    ("change", "leads"),
    [
        (lambda seen: seen, True),
        (lambda seen: replace(seen, forwards=frozenset()), False),
        (lambda seen: replace(seen, forwards=frozenset(sorted(seen.forwards)[:1])), False),
        (led("output", ADDRESS, INNER, f"{ADDRESS}:7000"), False),
        (ruled(f"tcp dport {INNER} redirect to :7000"), False),
        (ruled(f"tcp dport {PORT} redirect to :7000"), True),
    ],
)
def test_the_inner_port_is_proved_where_it_is_shown_to_lead_to_the_role(change: Change, leads: bool) -> None:
    assert is_led_inward(ADDRESS, INNER, PORT, change(RIGHT)) is leads


def test_a_unit_that_was_told_to_stop_and_still_listens_is_its_own() -> None:
    assert endpoint(HOST.instances[0], with_unit(RIGHT, UNIT, ActiveState="deactivating")) == (ADDRESS, PORT)


# Each of them asks own_endpoint or taken before, or says nothing that is a real password.
LOGINS = {
    "observed/own_server.py",
    "observed/look.py",
    "observed/leftover.py",
    "observed/foreign.py",
    "prove/behaviour.py",
    "drills/client.py",  # on hosts that are thrown away; looks first, but for a crowd that comes behind one that has
}


def test_no_other_module_logs_in() -> None:
    files = {path.relative_to(TASKS).as_posix(): path.read_text() for path in TASKS.rglob("*.py")}
    sends = {name for name, text in files.items() if '("AUTH"' in text}
    assert sends == LOGINS
