"""Ctrl-C ends a run, whatever it is doing at that moment."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO

import pytest

from tests.tree import REPOSITORY

BUSY = """
from gevent import monkey; monkey.patch_all()
import threading, time
from tasks.run.interruption import notice_interruptions
notice_interruptions()

def work():
    print("begun", flush=True)
    end = time.monotonic() + 60
    while time.monotonic() < end:
        pass

def wait():
    print("begun", flush=True)
    time.sleep(60)

%s
"""
AT = {
    "in a thread, which is a greenlet": "threading.Thread(target=work, daemon=True).start(); time.sleep(60)",
    "in the main greenlet": "work()",
    "while everybody waits": "threading.Thread(target=wait, daemon=True).start(); time.sleep(60)",
}


@dataclass
class Begun:
    """A process that has begun, and what it is told and says."""

    process: "subprocess.Popen[str]"
    told: IO[str]
    says: IO[str]
    complains: IO[str]

    def ends(self, number: signal.Signals) -> int:
        """How it ends when it gets the signal."""
        self.process.send_signal(number)
        return self.process.wait(20)


@contextmanager
def begun(script: str) -> Iterator[Begun]:
    """A process that runs this, and says when it has begun; it is gone afterwards."""
    pipe = subprocess.PIPE
    with subprocess.Popen(
        [sys.executable, "-c", script], cwd=REPOSITORY, stdin=pipe, stdout=pipe, stderr=pipe, text=True
    ) as process:
        assert process.stdin
        assert process.stdout
        assert process.stderr
        try:
            assert process.stdout.readline() == "begun\n"
            yield Begun(process, process.stdin, process.stdout, process.stderr)
        finally:
            process.kill()


@pytest.mark.parametrize("where", AT)
def test_it_ends_the_run_as_a_failure_and_in_words(where: str) -> None:
    with begun(BUSY % AT[where]) as run:
        assert run.ends(signal.SIGINT) == 1
        assert run.complains.read().strip() == (
            "Interrupted: not everything was done. Run the same command again to go on."
        )


HELD = (
    BUSY
    % """
from gevent import spawn
from tasks.run.interruption import held_back

def replace():
    with held_back("wait"):
        print("begun", flush=True)
        sys.stdin.readline()
        print("whole", flush=True)
    time.sleep(60)

import sys
spawn(replace).join()
"""
)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_what_must_not_be_left_half_done_is_ended_first(number: signal.Signals) -> None:
    with begun(HELD) as run:
        run.process.send_signal(number)
        assert [run.complains.readline(), run.complains.readline()] == ["\n", "wait\n"]
        assert run.process.poll() is None
        run.told.write("\n")
        run.told.flush()
        assert run.says.readline() == "whole\n"
        assert run.process.wait(20) == (1 if number is signal.SIGINT else -number)


LEFT = (
    BUSY
    % """
import gevent.pool
from types import SimpleNamespace
from tasks.run.entry import disconnect

def disconnect_all(state):
    print(state.pool.spawn(lambda: "disconnected").get(), flush=True)

state = SimpleNamespace(pool=gevent.pool.Pool(1))
state.pool.spawn(wait)
try:
    time.sleep(60)
finally:
    disconnect(disconnect_all, state)
"""
)


def test_what_it_leaves_waiting_keeps_no_host_from_its_end() -> None:
    with begun(LEFT) as run:
        assert run.ends(signal.SIGINT) == 1
        assert run.says.read() == "disconnected\n"
