"""A real Prometheus with the alerts of monitoring/alerts.yaml, fed by what status and drift say of real servers."""

import json
import socket
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import yaml

from tests.hosts.conftest import Finished, output, wait_for
from tests.lab.tools import prometheus
from tests.tree import REPOSITORY

RULES = REPOSITORY / "monitoring" / "alerts.yaml"


class Watched:
    """A Prometheus on 127.0.0.1 with the alerts, no `for:` and hours of some seconds, and what it scrapes of both."""

    def __init__(self, directory: Path, port: int) -> None:
        self.file, self.drift, self.port = directory / "status.prom", directory / "drift.prom", port

    def metrics(self) -> str:
        """What both have written; where drift has not run, when it would have."""
        text = self.file.read_text() if self.file.exists() else ""
        checked = f"caas_redis_drift_check_timestamp_seconds {time.time()}\n"
        return text + (self.drift.read_text() if self.drift.exists() else checked)

    def firing(self) -> set[str]:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/api/v1/alerts", timeout=10) as answer:
            found = json.load(answer)["data"]["alerts"]
        return {item["labels"]["alertname"] for item in found if item["state"] == "firing"}

    def raises(self, status: Callable[..., Finished], *expected: str) -> str:
        """One run of status, and exactly these alerts fire: none of what was broken before. What it printed."""
        done = status("--data", f"status_metrics={self.file}")
        assert "Traceback" not in output(done)
        wait_for(partial(self._are_firing, set(expected)), f"{expected} and no other, {done.stdout}", 30)
        return done.stdout

    def _are_firing(self, expected: set[str]) -> bool:
        try:
            return self.firing() == expected
        except OSError:
            return False


@contextmanager
def watching(directory: Path) -> Iterator[Watched]:
    """It listens on 127.0.0.1, until the body ends."""
    found = Watched(directory, 0)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(found.metrics().encode())

        def log_message(self, *_: Any) -> None:
            """Nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, daemon=True).start()
    rules = yaml.safe_load(RULES.read_text())
    for rule in rules["groups"][0]["rules"]:
        rule["for"] = "0s"
        rule["expr"] = rule["expr"].replace("[1h]", "[6s]")
    (directory / "rules.yaml").write_text(yaml.safe_dump(rules))
    scrape = {"job_name": "status", "static_configs": [{"targets": [f"127.0.0.1:{server.server_port}"]}]}
    config = {
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "rule_files": [str(directory / "rules.yaml")],
        "scrape_configs": [scrape],
    }
    (directory / "prometheus.yaml").write_text(yaml.safe_dump(config))
    with free_port() as port:
        found.port = port
    words = [
        str(prometheus() / "prometheus"),
        f"--config.file={directory / 'prometheus.yaml'}",
        f"--storage.tsdb.path={directory / 'data'}",
        f"--web.listen-address=127.0.0.1:{found.port}",
    ]
    with (directory / "log").open("w") as log, subprocess.Popen(words, stdout=log, stderr=log) as process:
        try:
            yield found
        finally:
            process.terminate()
            server.shutdown()


@contextmanager
def free_port() -> Iterator[int]:
    """One of 127.0.0.1 that nothing uses."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        yield one.getsockname()[1]
