"""Ways to a host and logins of all kinds: everything works behind them, or one sentence says what does not."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.hosts.conftest import Tier, layout, output
from tests.lab.containers import ContainerLab, HostSpec

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
    "/etc/redis": "711 root root",
    "/etc/redis/gateway.conf": "640 root redis-gateway",
    "/etc/systemd/system/redis-gateway.service": "644 root root",
    "/etc/needrestart": "755 root root",
    "/var/lib/redis/gateway": "750 redis-gateway redis-gateway",
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


# --- Behind another host

WAYS = {
    "ProxyJump": "ProxyJump root@172.28.2.1",
    "ProxyCommand": "ProxyCommand ssh -F {config} -W %h:%p root@172.28.2.1",
}


@pytest.fixture(scope="module")
def behind(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tier]:
    """Crypto's host, and another that leads to it."""
    hosts = [
        HostSpec("redis-gateway", ("172.28.2.1",), "bookworm"),
        HostSpec("redis-crypto", ("172.28.2.5",), "trixie"),
    ]
    with ContainerLab(hosts) as lab:
        secrets = tmp_path_factory.mktemp("behind") / "secrets.yaml"
        yield Tier(lab, "inventory/prod.py", secrets, ("--limit", "redis-crypto"))


@pytest.mark.parametrize("way", WAYS)
def test_everything_works_behind_a_bastion(behind: Tier, tmp_path: Path, way: str) -> None:
    config = behind.lab.home / ".ssh" / "config"
    usual, bastion = config.read_text(), behind.lab.hosts["redis-gateway"]
    (tmp_path / "config").write_text(usual)
    config.write_text(f"Host 172.28.2.5\n  {WAYS[way].format(config=tmp_path / 'config')}\n{usual}")
    logins = "journalctl -u ssh --no-pager | grep -c 'Accepted publickey' || true"
    before = int(bastion.sh(logins))
    try:
        behind.deploy("--data", 'redis_overrides={"crypto": {"databases": 17}}')
        for file in ("deploy.py", "tasks/verify.py", "tasks/drift.py"):
            done = behind.run(file)
            assert done.returncode == 0, output(done)
            assert "Traceback" not in output(done)
    finally:
        config.write_text(usual)
    assert int(bastion.sh(logins)) == before + 4


def test_a_bastion_that_does_not_answer_is_said_with_what_to_do(behind: Tier) -> None:
    config = behind.lab.home / ".ssh" / "config"
    usual = config.read_text()
    config.write_text(f"Host 172.28.2.5\n  ProxyCommand false\n{usual}")
    try:
        done = behind.run("tasks/drift.py")
    finally:
        config.write_text(usual)
    assert done.returncode != 0
    assert "ProxyCommand" in output(done)  # in whose words depends on when it is seen to have ended
    assert "Traceback" not in output(done)
