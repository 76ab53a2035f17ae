"""templates/scripts/promote.sh with real servers: what a standby takes as its own it keeps, and two never serve."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import redis

from tasks.catalogue.acl_rules import HANDOVER, HANDOVER_RULES, REBIND_RULES
from tasks.observed.script import script
from tests.hosts.on_loopback import ACL, free_port, server, speaker, wait_for
from tests.lab.tools import redis_programs

pytestmark = pytest.mark.hosts

PASSWORD = "a-password-of-the-run"
QUIET = 3  # seconds without a word of a primary, of one that pings each second
KEEPER = "caas-redis-address-crypto.service"
OWN = "127.0.0.7"  # another address of the host
LOCAL = f"{ACL}user {HANDOVER} on >{PASSWORD} {HANDOVER_RULES} {REBIND_RULES}\n"
SYSTEMCTL = """#!/bin/sh
# What the host does when systemd is asked for the first time to read its units anew.
echo "$*" >>{log}
case $1 in daemon-reload) [ ! -e {then} ] || {{ mv {then} {then}.done; {what}; }} ;; esac
"""


@dataclass
class Standby:
    """A standby's server, and what lies on its host."""

    directory: Path
    port: int
    old: int  # its primary's port
    address: str = "127.0.0.1"  # the role's

    @property
    def drop_in(self) -> Path:
        return self.directory / "redis-crypto.service.d" / "copy.conf"

    @property
    def mark(self) -> Path:
        return self.directory / "records" / "crypto.promoted"

    def info(self) -> dict[str, Any]:
        with redis.Redis(port=self.port, decode_responses=True) as client:
            return dict(client.info("replication"))

    def is_one(self) -> bool:
        """Whether it is a standby as before, and will be at its next start."""
        says = self.info()
        kept = self.drop_in.exists() and (self.directory / "crypto.copy").exists()
        return says["role"] == "slave" and says["master_port"] == self.old and kept and not self.mark.exists()

    def asked(self) -> list[str]:
        """What systemd was asked for, in order."""
        return (self.directory / "systemctl.log").read_text().splitlines()

    def promote(
        self, *places: str, pause: int = 60_000, amid: str = "", address: str = "", has_it: bool = True, to: str = ""
    ) -> subprocess.CompletedProcess[str]:
        """What the script says; `amid`: what happens on the way, when its next start is settled.

        `address`: the role's, which goes along; `has_it`: whether its keeper gets it, for whom nobody else answers;
        `to`: the address of the old host, where that is another one.
        """
        bin = self.directory / "bin"
        bin.mkdir(exist_ok=True)
        (self.directory / "amid").touch()
        text = SYSTEMCTL.format(log=self.directory / "systemctl.log", then=self.directory / "amid", what=amid or ":")
        (bin / "systemctl").write_text(text)
        (bin / "systemctl").chmod(0o755)
        (bin / "ip").write_text(f"#!/bin/sh\n{'echo a line' if has_it else ':'}\n")
        (bin / "ip").chmod(0o755)
        job = script(
            "promote",
            address=address,
            bound=f"{address} 127.0.0.1",
            keeper=KEEPER if address else "",
            role="crypto",
            unit="redis-crypto.service",
            user=HANDOVER,
            host=self.address,
            port=self.port,
            places=[place for place in places if place],
            old_host=to or "127.0.0.1",
            quiet=QUIET,
            old_port=self.old,
            drop_in=str(self.drop_in),
            copy=str(self.directory / "crypto.copy"),
            begun=str(self.directory / "records" / "crypto"),
            moved=str(self.directory / "records" / "crypto.moved"),
            text="# it has run here\n",
            snapshot="",
            promoted=str(self.mark),
            mark="# put in the place of the other one",
            served=str(self.directory / "run" / "crypto.served"),
            note="# it serves",
            pause=pause,
            patience=5,
            tls="",
        )
        done = subprocess.run(
            ["/bin/sh", "-c", job],
            input=f"{PASSWORD}\n",
            env={"PATH": f"{bin}:{redis_programs() / 'bin'}:/usr/sbin:/usr/bin:/sbin:/bin"},
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert PASSWORD not in done.stdout + done.stderr
        return done


@pytest.fixture
def standby(tmp_path: Path) -> Iterator[Standby]:
    """In sync with a primary that had 100 keys, and whose host is not there any more: no one answers there."""
    with server(tmp_path / "old") as old:
        with redis.Redis(port=old) as client:
            client.mset({f"key:{number}": number for number in range(100)})
        with follower(tmp_path, old) as found:
            wait_for(lambda: found.info()["master_link_status"] == "up", "in sync")
            with redis.Redis(port=old) as client:
                client.shutdown(nosave=True)
            wait_for(lambda: found.info()["master_link_status"] == "down", "it has noticed")
            yield found


@contextmanager
def follower(directory: Path, old: int) -> Iterator[Standby]:
    login = ("--masteruser", "replication", "--masterauth", "a-password-of-both")
    addresses = ("--bind", "127.0.0.1", OWN)
    with server(directory / "new", "--replicaof", f"127.0.0.1 {old}", *login, *addresses, acl=LOCAL) as port:
        found = Standby(directory, port, old)
        found.drop_in.parent.mkdir()
        found.drop_in.write_text("[Service]\n")
        (directory / "crypto.copy").write_text("replicaof\n")
        (directory / "records").mkdir()
        yield found


# 127.0.0.1 refuses what nobody takes, as a host does that is there: what is not there is left out of the places.
NOBODY = ""


def test_a_standby_whose_primary_is_gone_serves_and_its_next_start_is_that_of_the_role(standby: Standby) -> None:
    done = standby.promote(NOBODY)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout == "promoted: crypto is served here\n"
    assert standby.info()["role"] == "master"
    with redis.Redis(port=standby.port) as client:
        assert client.dbsize() == 100
        client.set("written", "here")
    assert not standby.drop_in.exists()
    assert not standby.drop_in.parent.exists()
    assert not (standby.directory / "crypto.copy").exists()
    assert standby.mark.read_text() == "# put in the place of the other one\n"
    assert (standby.directory / "records" / "crypto").read_text() == "# it has run here\n"
    assert (standby.directory / "run" / "crypto.served").exists()


@pytest.mark.parametrize("has_it", [True, False])
def test_one_whose_address_goes_along_takes_it_last_and_leaves_it_to_who_has_it(standby: Standby, has_it: bool) -> None:
    done = standby.promote(NOBODY, address="127.0.0.5", has_it=has_it)
    assert done.returncode == 0, done.stdout + done.stderr
    there = "" if has_it else "; 127.0.0.5 is not here"
    assert done.stdout.startswith(f"promoted: crypto is served here{there}")
    assert standby.info()["role"] == "master"
    assert standby.asked()[-1] == f"restart {KEEPER}"
    with redis.Redis("127.0.0.5", standby.port, socket_timeout=5) as client:
        if has_it:
            assert client.set("written", "at it")
        else:
            with pytest.raises(redis.ConnectionError):
                client.ping()


@pytest.mark.parametrize("how", ["takes connections", "refuses connections, so its host is there"])
def test_a_host_that_answers_in_any_way_is_not_replaced(standby: Standby, how: str) -> None:
    with speaker(lambda connection: None) as port:
        place = f"127.0.0.1:{port if how.startswith('takes') else free_port()}"
        done = standby.promote(place)
    assert done.returncode == 3
    assert done.stdout == f"not promoted: {place} {how}\n"
    assert standby.is_one()


def test_the_old_host_is_asked_from_the_roles_own_address_and_from_that_by_which_this_host_speaks_else(
    standby: Standby,
) -> None:
    """A filter may let in either alone, and what is not heard is taken for off."""
    standby.address = OWN
    came: list[str] = []
    with speaker(lambda connection: came.append(connection.getpeername()[0])) as port:
        done = standby.promote(f"127.0.0.1:{port}")
    assert done.returncode == 3, done.stdout + done.stderr
    assert {*came} == {OWN, "127.0.0.1"}


def test_one_that_cannot_ask_is_not_promoted(standby: Standby) -> None:
    bin = standby.directory / "bin"
    bin.mkdir()
    (bin / "perl").write_text("#!/bin/sh\nexit 1\n")
    (bin / "perl").chmod(0o755)
    done = standby.promote("127.0.0.1:1")
    assert done.returncode == 3
    assert done.stdout == "not promoted: whether 127.0.0.1:1 answers was not found out\n"
    assert standby.is_one()


def test_one_that_comes_back_amid_it_is_seen_and_all_is_as_before(standby: Standby, tmp_path: Path) -> None:
    """It begins to answer when the standby's next start is settled; what is written meanwhile waits."""
    ended = threading.Event()
    written: list[object] = []
    refused: list[Exception] = []

    def write() -> None:
        with redis.Redis(port=standby.port, socket_timeout=30) as client:
            while not ended.is_set():
                try:
                    written.append(client.set("written", "amid it"))
                except redis.ReadOnlyError as error:
                    refused.append(error)

    writer = threading.Thread(target=write, daemon=True)
    writer.start()
    with silent() as (listener, place):
        begins = tmp_path / "begins"
        threading.Thread(target=answer_when, args=(begins, listener), daemon=True).start()
        done = standby.promote(place, amid=f"touch {begins}")
    ended.set()
    writer.join(30)
    assert done.returncode == 3, done.stdout + done.stderr
    assert "which came back amid it" in done.stdout
    assert standby.is_one()
    assert refused
    assert not written
    with redis.Redis(port=standby.port) as client:
        assert client.dbsize() == 100


def answer_when(begins: Path, listener: socket.socket) -> None:
    """A host that was silent takes connections a second later."""
    wait_for(begins.exists, "it is promoted")
    time.sleep(1.5)
    with suppress(OSError):
        while True:
            listener.accept()[0].close()


@contextmanager
def silent() -> Iterator[tuple[socket.socket, str]]:
    """A place that answers nothing, as a host that is off: its queue is full, so the kernel drops what knocks."""
    with socket.socket() as listener, socket.socket() as first:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        first.connect(listener.getsockname())
        yield listener, f"127.0.0.1:{listener.getsockname()[1]}"


def test_a_host_that_is_silent_is_replaced(standby: Standby) -> None:
    with silent() as (_, place):
        done = standby.promote(place)
    assert done.returncode == 0, done.stdout + done.stderr
    assert standby.info()["role"] == "master"


def test_a_server_that_serves_already_or_is_down_is_not_promoted(standby: Standby) -> None:
    with redis.Redis(port=standby.port) as client:
        client.replicaof("NO", "ONE")
        assert standby.promote(NOBODY).stdout == ("not promoted: its role is master, expected a standby that follows\n")
        client.shutdown(nosave=True)
    found = standby.promote(NOBODY)
    assert (found.returncode, found.stdout) == (
        3,
        "not promoted: its role is not told, expected a standby that follows\n",
    )
    assert standby.drop_in.exists()
    assert not standby.mark.exists()


def test_a_standby_that_follows_a_third_server_is_not_put_beside_it(standby: Standby) -> None:
    """The host that is off is another one."""
    done = standby.promote(NOBODY, to="10.0.0.99")
    assert (done.returncode, done.stdout) == (
        3,
        f"not promoted: it follows 127.0.0.1:{standby.old}, expected 10.0.0.99:{standby.old}\n",
    )
    assert standby.is_one()


@pytest.mark.parametrize("ends", [False, True])
def test_a_primary_that_is_heard_still_is_not_replaced_and_one_that_falls_silent_is(tmp_path: Path, ends: bool) -> None:
    """Whoever says that it is off: it may be cut off from who asks alone."""
    with server(tmp_path / "old", "--repl-ping-replica-period", "1") as old, follower(tmp_path, old) as found:
        wait_for(lambda: found.info()["master_link_status"] == "up", "in sync")
        with redis.Redis(port=old) as client:
            (pid,) = [client.info("server")["process_id"]]
        if ends:
            os.kill(pid, signal.SIGSTOP)
        try:
            done = found.promote(NOBODY)
            if ends:
                assert done.returncode == 0, done.stdout + done.stderr
                return
            assert (done.returncode, done.stdout) == (3, f"not promoted: it hears of 127.0.0.1:{old} still\n")
            assert found.is_one()
        finally:
            os.kill(pid, signal.SIGCONT)


def test_one_that_cannot_be_made_to_last_is_not_promoted(standby: Standby) -> None:
    (standby.directory / "records" / "crypto.new").mkdir()
    found = standby.promote(NOBODY)
    assert found.returncode == 3
    assert standby.is_one()


def test_one_that_is_cut_off_takes_no_write_that_its_next_start_would_not_have(standby: Standby) -> None:
    """It follows still, and its next start asks who serves; the same again ends it."""
    standby.promote(NOBODY, amid="kill -KILL $PPID")
    assert standby.mark.exists()
    assert standby.info()["role"] == "slave"
    done = standby.promote(NOBODY)
    assert done.returncode == 0, done.stdout + done.stderr
    assert standby.info()["role"] == "master"
    assert not standby.drop_in.parent.exists()


def test_wherever_it_is_cut_off_the_address_comes_with_a_next_start_that_is_that_of_the_role(standby: Standby) -> None:
    """The server listens at it then, and nobody else is there to bring it; its unit gives a standby none."""
    standby.promote(NOBODY, address="127.0.0.5", amid="kill -KILL $PPID")
    assert not standby.drop_in.exists()
    assert f"enable --quiet {KEEPER}" in standby.asked()
    done = standby.promote(NOBODY, address="127.0.0.5")
    assert done.returncode == 0, done.stdout + done.stderr


def test_one_that_is_undone_or_whose_address_could_not_come_at_its_next_start_has_no_unit_for_it(
    standby: Standby,
) -> None:
    done = standby.promote(NOBODY, address="127.0.0.5", amid="exit 1")
    assert done.returncode == 3, done.stdout + done.stderr
    assert standby.is_one()
    assert [line for line in standby.asked() if line.endswith(KEEPER)][-1] == f"disable --quiet {KEEPER}"
