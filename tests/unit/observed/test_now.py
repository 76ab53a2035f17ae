"""What a server says of this moment: of refused logins, which are those of this tool's own proof."""

import pytest

from tasks.observed.exchange import Reply
from tasks.observed.now import MOST_PROOFS, read_now

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


def test_a_command_that_was_refused_is_no_login() -> None:
    assert denied(PROOF, reason="command") == 0
