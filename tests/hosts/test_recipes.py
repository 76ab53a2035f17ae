"""README's recipes for cron and a timer, word for word, for a user `caas` on a Debian host.

The tool itself is a stub here, which writes and exits as it does: what the recipes add is what is tried.
"""

import re
import textwrap
from collections.abc import Iterator

import pytest

from tests.hosts.conftest import output, wait_for
from tests.lab.container import Container
from tests.lab.containers import ContainerLab, HostSpec
from tests.runbook import entries
from tests.tree import REPOSITORY

pytestmark = pytest.mark.hosts

# As tasks/drift.py: says what it found, writes the metrics where it is told to, as its own user, and exits 1 on drift.
STUB = """#!/bin/sh
for word in "$@"; do case $word in drift_metrics=*) echo "by $(id -un)" >"${word#*=}" || exit 3 ;; esac; done
echo 'said by the check' >&2
exit "$(cat /srv/caas-redis/exit)"
"""
METRICS = "/var/lib/prometheus/node-exporter/caas-redis.prom"


def block(name: str) -> str:
    """The indented block of README that begins by naming the file."""
    text = (REPOSITORY / "README.md").read_text()
    (found,) = re.findall(rf"^    # (?:\S*/)?{re.escape(name)}\n((?:    .*\n)+)", text, re.MULTILINE)
    return textwrap.dedent(found)


@pytest.fixture(scope="module", params=["bookworm", "trixie"])
def host(request: pytest.FixtureRequest) -> Iterator[Container]:
    """A host with the user, its place and a collector's directory as Debian's package makes it."""
    with ContainerLab([HostSpec("redis-crypto", ("172.28.2.5",), request.param)]) as lab:
        host = lab.hosts["redis-crypto"]
        host.sh(
            "useradd --system --home-dir /srv/caas-redis --create-home --shell /bin/sh caas;"
            "mkdir -p /var/lib/prometheus/node-exporter /srv/caas-redis/.venv/bin"
        )
        host.sh("cat >/srv/caas-redis/.venv/bin/pyinfra; chmod -R +x /srv/caas-redis/.venv/bin", input=STUB)
        for name in ("caas-redis-drift.service", "caas-redis-drift.timer"):
            host.sh(f"cat >/etc/systemd/system/{name}", input=block(name))
        host.sh("systemctl daemon-reload")
        yield host


@pytest.mark.parametrize(("code", "said"), [(0, ""), (1, "said by the check\n")])
def test_cron_s_line_is_quiet_while_all_is_well_and_says_all_otherwise(host: Container, code: int, said: str) -> None:
    host.sh(f"echo {code} >/srv/caas-redis/exit")
    *when, user, command = re.split(r" +", block("caas-redis").strip(), maxsplit=6)
    assert (when, user) == (["17", "*", "*", "*", "*"], "caas")
    assert "%" not in command  # which cron takes for the end of a line
    done = host.call(f"setpriv --reuid={user} --regid={user} --init-groups /bin/sh -c '{command}'")
    assert done.stdout + done.stderr == said


@pytest.mark.parametrize("code", [0, 1])
def test_the_timer_checks_as_caas_and_the_metrics_are_there_whatever_it_found(host: Container, code: int) -> None:
    host.sh(f"echo {code} >/srv/caas-redis/exit; rm -f {METRICS}")
    assert (host.call("systemctl start caas-redis-drift.service").returncode != 0) == bool(code)
    wait_for(lambda: host.call(f"test -e {METRICS}").returncode == 0, "the metrics are there")
    assert host.sh(f"cat {METRICS}; stat -c '%U %a' {METRICS}; ls /run/caas-redis-drift 2>/dev/null || true") == (
        "by caas\nroot 644\n"
    )


def test_the_timer_can_be_enabled_and_systemd_finds_nothing_wrong_with_it(host: Container) -> None:
    host.sh("systemctl enable --now caas-redis-drift.timer")
    said = host.call("systemd-analyze verify --man=no caas-redis-drift.service caas-redis-drift.timer")
    assert "caas-redis" not in said.stdout + said.stderr
    assert host.sh("systemctl is-active caas-redis-drift.timer") == "active\n"


def test_nobody_has_looked(host: Container) -> None:
    there, said, file, anew, now = entries()["nobody-has-looked"].commands
    host.sh("echo 0 >/srv/caas-redis/exit; systemctl disable --now caas-redis-drift.timer")
    host.sh("systemctl start caas-redis-drift.service")  # the last run, long ago
    host.sh(f"touch -d '2026-01-01' {METRICS}; mv /srv/caas-redis/.venv /srv/caas-redis/.gone")
    host.call("systemctl start caas-redis-drift.service")
    shown = [host.call(command) for command in (there, said, file)]
    assert [done.returncode for done in shown] == [0, 0, 0]
    assert not re.search(r"\bleft\b.*caas-redis-drift|ago.*left", shown[0].stdout)
    assert "caas-redis-drift" in shown[1].stdout
    assert "2026-01-01" in shown[2].stdout
    host.sh("mv /srv/caas-redis/.gone /srv/caas-redis/.venv")  # what the journal leads to
    for command in (anew, now):
        done = host.call(command)
        assert done.returncode == 0, output(done)
    assert host.sh("systemctl is-active caas-redis-drift.timer") == "active\n"
    assert "2026-01-01" not in host.sh(file)
