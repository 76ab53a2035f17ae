"""The script that tries ports (templates/scripts/knock.sh), run on this machine's loopback."""

import socket
import subprocess
import time

from tasks.observed.script import prepared, script


def knock(*where: str, patience: int = 2) -> dict[str, str]:
    """What the script says of each."""
    command = ["sh", "-c", prepared(script("knock", *where, patience=patience))]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=30)
    assert done.stderr == ""
    return dict(line.split(" ", 1) for line in done.stdout.splitlines())


def test_an_open_port_and_a_closed_one_are_told_apart() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))  # nobody listens on it
        names = [f"127.0.0.1:{item.getsockname()[1]}" for item in (server, bound)]
        assert knock(*names) == {names[0]: "open", names[1]: "Connection refused"}


def test_a_port_that_does_not_answer_is_left_out_and_holds_up_nothing() -> None:
    with socket.socket() as full, socket.create_server(("127.0.0.1", 0)) as server:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        address = full.getsockname()
        waiting = [socket.socket() for _ in range(4)]
        try:
            for item in waiting:  # until its queue is full, the kernel drops what comes
                item.setblocking(False)
                item.connect_ex(address)
            names = [f"127.0.0.1:{item.getsockname()[1]}" for item in (full, server)]
            began = time.monotonic()
            assert knock(*names, patience=1) == {names[1]: "open"}
            assert time.monotonic() - began < 10
        finally:
            for item in waiting:
                item.close()
