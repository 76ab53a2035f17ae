"""What a server says of this moment: of refused logins, which are those of this tool's own proof."""

import pytest

from tasks.observed.exchange import Reply
from tasks.observed.moment import Process
from tasks.observed.now import parse_now, read_now
from tasks.observed.records import Unreadable
from tasks.observed.refused import MOST_PROOFS

PROOF = "id=9 addr=172.28.2.5:4711 laddr=172.28.2.5:6383 fd=9 name=caas-verify:proof age=0 user=operator"


def denied(client: str, count: int = 1, reason: str = "auth") -> int:
    """How many of an entry's refusals are held to be a proof's."""
    entry: list[Reply] = ["count", count, "reason", reason, "object", "AUTH", "username", "x", "client-info", client]
    (found,) = read_now(["", [], [], [entry], ""], 0.0, {"172.28.2.5", "172.28.2.1"}).denied
    assert found.count == count
    return found.proofs


def test_a_proof_s_try_is_known_by_its_connection_s_name_and_the_host_s_own_address() -> None:
    assert denied(PROOF) == denied(PROOF.replace("addr=172.28.2.5", "addr=172.28.2.1")) == 1
    assert denied(PROOF, count=MOST_PROOFS) == MOST_PROOFS


@pytest.mark.parametrize(
    "client",
    [
        PROOF.replace("addr=172.28.2.5:", "addr=172.28.2.50:"),
        PROOF.replace("caas-verify:proof", "caas-verify:proof2"),
        PROOF.replace("name=caas-verify:proof", "name="),
        PROOF.replace("fd=9 name=", "lib-name="),
        "",
    ],
)
def test_another_s_try_is_not_a_proof_s(client: str) -> None:
    assert denied(client) == 0


def test_who_hides_many_tries_behind_a_proof_s_last_one_is_counted() -> None:
    assert denied(PROOF, count=10_000) == MOST_PROOFS


def test_the_log_of_refusals_goes_back_to_its_oldest_entry_whatever_that_was() -> None:
    log: list[Reply] = [
        ["count", 1, "reason", reason, "username", "x", "age-seconds", age, "client-info", ""]
        for reason, age in (("auth", "4.1"), ("command", "7300.9"), ("auth", "9"))
    ]
    assert read_now(["", [], [], log, ""], 0.0, set()).log_reach == 7300
    assert read_now(["", [], [], [], ""], 0.0, set()).log_reach is None


def test_what_the_kernel_says_of_a_process_is_its_state_and_what_of_it_is_swapped_out() -> None:
    lines = ("State:\tT (stopped)", "VmRSS:\t    9060 kB", "VmSwap:\t     512 kB")
    text = "".join(f"/proc/{pid}/status:{line}\n" for pid in (7, 8) for line in lines)
    parts = {"time": "5\n", "connections": "", "processes": text, "deploys": "", "end": ""}
    found = parse_now("".join(f"\0m {name}\n{said}" for name, said in parts.items()), "m")
    assert found.processes == dict.fromkeys((7, 8), Process("T", 9060 << 10, 512 << 10))
    with pytest.raises(Unreadable):
        parse_now("".join(f"\0m {name}\n{said}" for name, said in {**parts, "processes": "x\n"}.items()), "m")


def test_a_command_that_was_refused_is_no_login() -> None:
    assert denied(PROOF, reason="command") == 0
