"""What Prometheus meets at a host's exporter: one scrape of a role, through the host's SSH connection."""

from __future__ import annotations

import re
from urllib.parse import quote

from pyinfra.api.host import Host

from tasks.catalogue.printable import excerpt
from tasks.desired.host import Exporter, Instance
from tasks.observed.connection import ConnectionBroken, TunnelRefused, open_tunnel
from tasks.prove.behaviour import Finding

WHAT = "what Prometheus is told"
UP = "redis_up 1"
ERROR = re.compile(r'^redis_exporter_last_scrape_error\{err="(.*)"\} 1$', re.MULTILINE)


def scrape(host: Host, exporter: Exporter, instance: Instance) -> list[str]:
    """What is wrong with a scrape of the instance, in words; nothing where it is up and says what it uses."""
    target = exporter.targets[instance.name]
    where = f"http://{exporter.place}/scrape?target={target}"
    try:
        text = _get(host, exporter, f"/scrape?target={quote(target, safe='')}")
    except (ConnectionBroken, TunnelRefused) as error:
        return [str(Finding(instance.name, WHAT, UP, f"{where}: {error}"))]
    seen = told(text)
    return [] if not seen else [str(Finding(instance.name, WHAT, UP, f"{seen} ({where})"))]


def told(answer: str) -> str:
    """What an answer says in the place of a role that is up; empty where it is. Pure."""
    head, _, body = answer.partition("\r\n\r\n")
    status = head.partition("\r\n")[0]
    if not re.fullmatch(r"HTTP/1\.[01] 200 .*", status):
        return excerpt(status or "nothing", 120)
    if UP in body.splitlines():
        return ""
    error = ERROR.search(body)
    return excerpt(error[1], 200) if error else "no series that is called redis_up"


def _get(host: Host, exporter: Exporter, path: str) -> str:
    """All that a request is answered. HTTP/1.0: the answer ends with the connection."""
    channel = open_tunnel(host, exporter.address, exporter.port)
    try:
        channel.send(f"GET {path} HTTP/1.0\r\nHost: {exporter.place}\r\n\r\n".encode())
        come = b""
        while data := channel.receive():
            come += data
        return come.decode("utf-8", "replace")
    finally:
        channel.close()
