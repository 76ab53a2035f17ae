"""Ctrl-C ends a run, whatever it is doing at that moment."""

import signal
import subprocess
import sys

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


@pytest.mark.parametrize("where", AT)
def test_it_ends_the_run_as_a_failure_and_in_words(where: str) -> None:
    command = [sys.executable, "-c", BUSY % AT[where]]
    with subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as run:
        assert run.stdout
        assert run.stderr
        assert run.stdout.readline() == "begun\n"
        try:
            run.send_signal(signal.SIGINT)
            assert run.wait(20) == 1
        finally:
            run.kill()
        assert run.stderr.read().strip() == (
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
    command = [sys.executable, "-c", HELD]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=REPOSITORY, stdin=pipe, stdout=pipe, stderr=pipe, text=True) as run:
        assert run.stdin
        assert run.stdout
        assert run.stderr
        assert run.stdout.readline() == "begun\n"
        try:
            run.send_signal(number)
            assert [run.stderr.readline(), run.stderr.readline()] == ["\n", "wait\n"]
            assert run.poll() is None
            run.stdin.write("\n")
            run.stdin.flush()
            assert run.stdout.readline() == "whole\n"
            assert run.wait(20) == (1 if number is signal.SIGINT else -number)
        finally:
            run.kill()


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
    with subprocess.Popen(
        [sys.executable, "-c", LEFT], cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as run:
        assert run.stdout
        assert run.stdout.readline() == "begun\n"
        try:
            run.send_signal(signal.SIGINT)
            assert run.wait(20) == 1
        finally:
            run.kill()
        assert run.stdout.read() == "disconnected\n"
