"""Logins that leave a strict umask, a short PATH, a language and much to read: everything works all the same."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.hosts.conftest import Tier, layout, output
from tests.lab.containers import ContainerLab

pytestmark = pytest.mark.hosts

RC = r"""
umask 077
PATH=/usr/bin:/bin
export LC_ALL=xx_XX.UTF-8
cd /tmp
printf 'Authorized use only.\n@@ facts\nsystemd=no\n99999999\nno line end'
echo 'setlocale: cannot change locale' >&2
"""
FILES = {
    "/etc/redis": "750 root redis",
    "/etc/redis/gateway.conf": "640 root redis",
    "/etc/systemd/system/redis-gateway.service": "644 root root",
    "/etc/needrestart": "755 root root",
    "/var/lib/redis/gateway": "750 redis redis",
}


@pytest.fixture(params=[("root", ()), ("admin", ("--ssh-user", "admin", "--sudo"))], ids=["root", "sudo"])
def strange(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Tier]:
    """A bare host for all five roles whose login does all that, and whose own name does not resolve."""
    user, options = request.param
    with ContainerLab(layout("onebox", "bookworm")) as lab:
        tier = Tier(lab, "inventory/onebox.py", tmp_path / "secrets.yaml", options)
        home = "/root" if user == "root" else f"/home/{user}"
        tier.host("gateway").sh(f"cat >{home}/.bashrc", input=RC)
        tier.host("gateway").sh("sed -i /127.0.1.1/d /etc/hosts; echo 'Defaults !secure_path' >/etc/sudoers.d/path")
        yield tier


def test_a_first_deploy_a_restart_and_all_checks_work(strange: Tier) -> None:
    strange.deploy()
    host = strange.host("gateway")
    assert {path: host.sh(f"stat -c '%a %U %G' {path}").strip() for path in FILES} == FILES
    assert host.sh("stat -c %a /var/lib/dpkg/status /var/lib/apt/lists").split() == ["644", "755"]
    assert "nothing to change on 1 host" in output(strange.deploy())
    host.sh("sed -i 's/^databases.*/databases 3/' /etc/redis/crypto.conf && systemctl restart redis-crypto")
    assert "restarted in" in output(strange.deploy())
    for command in ("tasks/verify.py", "tasks/drift.py"):
        done = strange.run(command)
        assert done.returncode == 0, output(done)
