"""Who is connected, as CLIENT LIST says it (observed/look.py)."""

import pytest

from tasks.observed.look import read_clients
from tasks.observed.replies import StrangeReply
from tasks.observed.state import Client

# redis-cli CLIENT LIST, Redis 7.0 (Debian 12) and 8.0 (Debian 13).
LINE = (
    "id=5 addr=172.28.2.254:45422 laddr=172.28.2.1:6379 fd=11 name= age=65 idle=0 flags=N db=0 sub=0 psub=0 ssub=0 "
    "multi=-1 qbuf=0 qbuf-free=0 argv-mem=0 multi-mem=0 rbs=1024 rbp=0 obl=0 oll=0 omem=0 tot-mem=1800 events=r "
    "cmd=exec user=auth-service redir=-1 resp=2"
)
OWN = LINE.replace("cmd=exec", "cmd=client|list").replace("age=65", "age=0").replace("auth-service", "operator")
OF_8 = f"{LINE} lib-name=redis-py lib-ver=5.0 io-thread=0 tot-net-in=9 tot-net-out=9 tot-cmds=3"


@pytest.mark.parametrize("line", [LINE, OF_8])
def test_a_connection_has_a_user_an_address_and_an_age(line: str) -> None:
    assert read_clients(f"{line}\n") == (Client("auth-service", "172.28.2.254:45422", 65),)


def test_the_look_s_own_connection_is_nobody_s_and_one_that_once_asked_the_same_is_somebody_s() -> None:
    assert read_clients(f"{OWN}\n") == ()
    (person,) = read_clients(OWN.replace("age=0", "age=4000"))
    assert (person.user, person.age) == ("operator", 4000)


@pytest.mark.parametrize("age", ["9" * 5000, "--1", "1.5"])
def test_an_age_that_no_clock_gives_is_refused(age: str) -> None:
    with pytest.raises(StrangeReply):
        read_clients(LINE.replace("age=65", f"age={age}"))


def test_an_age_below_zero_is_of_a_clock_that_was_put_back_and_an_address_is_shown_in_part() -> None:
    (client,) = read_clients(LINE.replace("age=65", "age=-7").replace("172.28.2.254", "1" * 9000))
    assert (client.age, len(client.address)) == (-7, 64)


def test_a_client_s_name_is_no_field() -> None:
    named = LINE.replace("name=", "name=user=x,age=1")
    assert read_clients(named) == (Client("auth-service", "172.28.2.254:45422", 65),)


@pytest.mark.parametrize(
    "reply", [None, 5, ["x"], "no client\n", LINE.replace("age=65", "age=x"), LINE.replace("user=", "u=")]
)
def test_what_no_redis_says_is_refused(reply: object) -> None:
    with pytest.raises(StrangeReply):
        read_clients(reply)  # type: ignore[arg-type]
