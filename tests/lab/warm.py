"""pyinfra's command line without its start: each run is forked from a process that has imported everything already.

A start takes more than a second of CPU, which is more than the rest of most runs. A run is the same
`pyinfra_cli.main.main()` in a process of its own, with arguments, environment and output of its own; but its imports
come in another order, and its sets are ordered as those of the other runs. So a test that looks at processes, at their
arguments or memory, starts real ones; and so does every test that ends one.

As a program, `python tests/lab/warm.py FD`: serves the runs that come by the socket FD until its other end is closed.
"""

from __future__ import annotations

import gc
import json
import os
import pkgutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from select import POLLIN
from typing import Any

WORDS = 1 << 17  # bytes that the arguments and the environment of a run may have
READY = b"ready"
KILLED = 60  # seconds for the end of what was killed


class Warm:
    """Runs pyinfra in `cwd`, whose code is what it was at first. `into`: words in front of the server's command."""

    def __init__(self, cwd: Path, into: Sequence[str | Path] = ()) -> None:
        self.cwd = cwd
        self._into = into
        self._requests: socket.socket | None = None
        self._server: subprocess.Popen[bytes] | None = None
        self._beginning = threading.Lock()

    def _server_s(self) -> socket.socket:
        """The socket of a server that takes requests; the first who asks begins it."""
        with self._beginning:
            if self._requests is None:
                self._requests, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
                with theirs:
                    command = [*self._into, sys.executable, Path(__file__).resolve(), str(theirs.fileno())]
                    self._server = subprocess.Popen(
                        command, cwd=self.cwd, stdin=subprocess.DEVNULL, pass_fds=[theirs.fileno()]
                    )
                self._requests.recv(len(READY))
            return self._requests

    def run(
        self, argv: Sequence[str | Path], environment: Mapping[str, str], timeout: float | None = None
    ) -> subprocess.CompletedProcess[str]:
        """`pyinfra ARGV` without input, as subprocess.run has it with captured text, also when it takes too long."""
        words = ["pyinfra", *map(str, argv)]
        requests = self._server_s()
        ours, theirs = socket.socketpair()
        with ours, tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
            with theirs, Path(os.devnull).open() as nothing:
                streams = [theirs.fileno(), nothing.fileno(), out.fileno(), err.fileno()]
                socket.send_fds(requests, [json.dumps([words, dict(environment)]).encode()], streams)
            ended = _ending(ours, words, timeout)
            for stream in (out, err):
                stream.seek(0)
            return subprocess.CompletedProcess(words, ended, out.read(), err.read())

    def close(self) -> None:
        """The server is gone."""
        if self._requests and self._server:
            self._requests.close()
            self._server.wait(KILLED)

    def ended(self) -> bool:
        """Whether the server is gone."""
        return self._server is None or self._server.poll() is not None


def _ending(asked: socket.socket, words: list[str], timeout: float | None) -> int:
    """Exit status of the run; it is gone, too, when this is left by an exception."""
    asked.settimeout(timeout)
    try:
        said = asked.recv(16)
    except BaseException as error:
        asked.shutdown(socket.SHUT_WR)
        asked.settimeout(KILLED)
        asked.recv(16)
        if isinstance(error, TimeoutError):
            raise subprocess.TimeoutExpired(words, timeout or 0) from None
        raise
    if not said:
        raise ChildProcessError(f"{' '.join(words)}: its server ended, expected its exit status: see its words above")
    return int(said)


# --- The server. What gevent has patched is asked for in its own form: a hub that has run would be every child's.


def serve(requests: socket.socket) -> None:
    """Fork a keeper for each request, and so on until nobody can ask any more."""
    fork = _original("os", "fork")
    requests.send(READY)
    while True:
        words, descriptors, _, _ = socket.recv_fds(requests, WORDS, 4)
        if not words:
            return
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for a keeper
        if fork() == 0:
            requests.close()
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            run = fork()
            if run == 0:
                begin(*json.loads(words), *descriptors)
            keep(run, *descriptors)
        for descriptor in descriptors:
            os.close(descriptor)


def begin(argv: list[str], environment: Mapping[str, str], asker: int, *streams: int) -> None:
    """This process is `pyinfra ARGV`, and ends as that does."""
    import gevent
    from pyinfra_cli.main import main

    gevent.reinit()
    os.close(asker)
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = [str(Path(sys.executable).with_name(argv[0])), *argv[1:]]
    sys.exit(main())


def keep(run: int, asker: int, *streams: int) -> None:
    """Tell who asked how the run has ended; end it when nobody waits for it any more. Never returns."""
    for stream in streams:
        os.close(stream)
    process, poll = os.pidfd_open(run), _original("select", "poll")()
    for descriptor in (process, asker):
        poll.register(descriptor, POLLIN)
    if process not in dict(poll.poll()):
        signal.pidfd_send_signal(process, signal.SIGKILL)
    _, status = _original("os", "waitpid")(run, 0)
    with suppress(OSError):
        os.write(asker, str(os.waitstatus_to_exitcode(status)).encode())
    os._exit(0)


def _original(module: str, name: str) -> Callable[..., Any]:
    from gevent import monkey

    found: Callable[..., Any] = monkey.get_original(module, name)
    return found


def preload() -> None:
    """pyinfra and all of tasks/ but the commands themselves are imported, as a run in this directory finds them."""
    sys.path[0] = str(Path(sys.executable).parent)  # of the script `pyinfra`, not of this one
    import_module("pyinfra_cli.main")
    sys.path.append(".")  # as that does
    tasks = import_module("tasks")
    for module in pkgutil.walk_packages(tasks.__path__, "tasks."):
        if module.ispkg or module.name.count(".") > 1:
            import_module(module.name)
    sys.path.remove(".")
    gc.freeze()


if __name__ == "__main__":
    asked = socket.socket(fileno=int(sys.argv[1]))  # before gevent patches sockets
    asked.setblocking(True)  # it comes from who may be patched already
    preload()
    serve(asked)
