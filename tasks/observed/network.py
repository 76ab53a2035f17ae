"""What a host reaches over the network: plain TCP connections by one command on it, which send nothing."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from pyinfra.api.host import Host
from pyinfra.api.state import State

from tasks.catalogue.printable import excerpt
from tasks.observed.connection import Unobserved, run_command
from tasks.observed.script import script

Endpoint = tuple[str, int]  # address and port

PATIENCE = 3  # seconds; a first packet that is lost is sent again after one
SILENT = f"no answer within {PATIENCE} s"
OPEN = "open"
_ANSWER = re.compile(r"([0-9.]{7,15}):([0-9]{1,5}) ([A-Za-z ,]{1,60})")


def knock(state: State, host: Host, endpoints: Sequence[Endpoint]) -> dict[Endpoint, str]:
    """Why `host` does not get a connection to each of these; empty where it does. Raises Unobserved."""
    words = [f"{address}:{port}" for address, port in endpoints]
    done = run_command(state, host, script("knock", *words, patience=PATIENCE))
    if not done.succeeded:
        raise Unobserved(excerpt(done.output, 200))
    return dict.fromkeys(endpoints, SILENT) | dict(_answers(done.stdout, endpoints))


def _answers(said: str, endpoints: Sequence[Endpoint]) -> Iterator[tuple[Endpoint, str]]:
    for line in said.splitlines():
        match = _ANSWER.fullmatch(line)
        if match is None or (match[1], int(match[2])) not in endpoints:
            raise Unobserved(f"what knock.sh says of the host: {excerpt(line)}, expected one of the ports")
        yield (match[1], int(match[2])), "" if match[3] == OPEN else match[3]
