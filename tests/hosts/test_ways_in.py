"""`tasks/endpoints.py --data endpoints_dir=DIR`: each service reaches its roles with the variables of its file alone.

Three readers take a file: a shell, systemd's EnvironmentFile and docker's env-file. Three clients use what they read:
redis-py, redis-cli and ioredis.
"""

import json
import shlex
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from tests.hosts.clients import in_namespace
from tests.hosts.conftest import INNER_PORT, TABLE, Tier, layout, output, overriding
from tests.lab import tools
from tests.lab.containers import ContainerLab

pytestmark = pytest.mark.hosts

# Of one service on a role, and of all of another role.
RIGHTS: dict[str, dict[str, Any]] = {
    "gateway": {"services": {"gateway": {"keys": ["session:*"]}, "auth-service": {}}},
    "crypto": {"scripts": False},
}
SERVICES = sorted({service for row in TABLE.values() for service in row["services"]})
WAYS = [(service, role) for service in SERVICES for role in TABLE if service in TABLE[role]["services"]]
PORTS = ("assigned", "inner")
Environment = dict[str, str]


@pytest.fixture(scope="module")
def tier(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tier]:
    """All five roles on one host, deployed with rights that differ."""
    with ContainerLab(layout("onebox", "bookworm")) as lab:
        secrets = tmp_path_factory.mktemp("ways-in") / "secrets.yaml"
        tier = Tier(lab, "inventory/onebox.py", secrets, overriding(RIGHTS))
        tier.deploy()
        yield tier


@pytest.fixture(scope="module")
def written(tier: Tier, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The directory that a run wrote, for the assigned ports and for the inner ones."""
    top = tmp_path_factory.mktemp("files")
    for port in PORTS:
        done = tier.run(
            "tasks/endpoints.py", "--data", f"endpoints_dir={top / port}", "--data", f"endpoints_port={port}"
        )
        assert done.returncode == 0, output(done)
        hidden = [password for users in tier.passwords.values() for password in users.values()]
        assert [password for password in hidden if password in output(done)] == []
    return {port: top / port for port in PORTS}


def as_docker_reads(file: Path) -> Environment:
    """The variables as docker's --env-file takes them: all behind the first = is the value, whatever it is."""
    lines = [line.lstrip() for line in file.read_text().splitlines()]
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))  # type: ignore[misc]


def as_a_shell_reads(file: Path, shell: str) -> Environment:
    """The variables that a shell exports, which has nothing else in its environment."""
    command = ["/usr/bin/env", "-i", shell, "-c", 'set -a; . "$1"; exec /usr/bin/env -0', shell, str(file)]
    return _variables(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def as_systemd_reads(tier: Tier, file: Path) -> Environment:
    """The variables that systemd gives to a service on a host."""
    host = tier.host("gateway")
    host.sh("umask 077; cat >/run/service.env", input=file.read_text())
    return _variables(host.sh("systemd-run -qP -p EnvironmentFile=/run/service.env /usr/bin/env -0"))


def _variables(text: str) -> Environment:
    found = dict(item.split("=", 1) for item in text.split("\0") if item)
    return {name: value for name, value in found.items() if name.startswith("REDIS_")}


def key_of(service: str, role: str) -> str:
    """A key that the service may use there."""
    own: dict[str, Any] = RIGHTS.get(role, {}).get("services", {}).get(service, {})
    return f"{own['keys'][0].rstrip('*')}{service}" if "keys" in own else f"test:{service}"


def may_run_scripts(role: str) -> bool:
    return bool(RIGHTS.get(role, {}).get("scripts", True))


@pytest.mark.parametrize("port", PORTS)
def test_a_shell_systemd_and_docker_read_the_same_from_every_file(
    tier: Tier, written: dict[str, Path], port: str
) -> None:
    directory = written[port]
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    assert sorted(path.name for path in directory.iterdir()) == sorted(
        ["endpoints.json", *(f"{service}.env" for service in SERVICES)]
    )
    for service in SERVICES:
        file = directory / f"{service}.env"
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        wanted: Environment = {}
        for role in [role for name, role in WAYS if name == service]:
            row, password = TABLE[role], tier.passwords[role][service]
            number = row["port"] if port == "assigned" else INNER_PORT
            wanted |= {
                f"REDIS_{role.upper()}_URL": f"redis://{service}:{password}@{row['address']}:{number}/0",
                f"REDIS_{role.upper()}_HOST": row["address"],
                f"REDIS_{role.upper()}_PORT": str(number),
                f"REDIS_{role.upper()}_USERNAME": service,
                f"REDIS_{role.upper()}_PASSWORD": password,
            }
        assert as_docker_reads(file) == wanted
        assert as_a_shell_reads(file, "/bin/bash") == wanted
        assert as_a_shell_reads(file, "/bin/sh") == wanted
        assert as_systemd_reads(tier, file) == wanted


@pytest.mark.parametrize("port", PORTS)
def test_ioredis_does_all_that_the_rights_allow(tier: Tier, written: dict[str, Path], port: str) -> None:
    script = f'set -a; . "$1"; NODE_PATH={shlex.quote(str(tools.ioredis()))} exec "$2" "$3" "$4"'
    node = tier.lab.run(["bash", "-c", "type -P node"], check=True).stdout.strip()
    client = tools.PINNED / "client.js"
    for service in SERVICES:
        mine = [role for name, role in WAYS if name == service]
        for key in {key_of(service, role) for role in mine}:
            file = written[port] / f"{service}.env"
            done = tier.lab.run(
                ["env", "-i", "/bin/bash", "-c", script, "bash", file, node, client, key], timeout=60, check=False
            )
            assert done.returncode == 0, done.stderr
            found = json.loads(done.stdout)
            assert set(found) == {f"REDIS_{role.upper()}" for role in mine}
            for role in [role for role in mine if key_of(service, role) == key]:
                wanted = {
                    "whoami": service,
                    "set": "OK",
                    "get": "1",
                    "multi": [2, 3],
                    "eval": 10 if may_run_scripts(role) else "refused: NOPERM",
                    "config": "refused: NOPERM",
                }
                assert found[f"REDIS_{role.upper()}"] == {"url": wanted, "parts": wanted}, (service, role)


def test_ioredis_is_refused_a_key_beyond_the_rights(tier: Tier, written: dict[str, Path]) -> None:
    environment = as_docker_reads(written["assigned"] / "gateway.env")
    modules = {"NODE_PATH": str(tools.ioredis())}
    done = tier.lab.run(
        ["node", tools.PINNED / "client.js", "profile:1"], env={**environment, **modules}, timeout=60, check=True
    )
    found = json.loads(done.stdout)
    assert found["REDIS_GATEWAY"]["url"]["set"] == "refused: NOPERM"
    assert found["REDIS_SHARED"]["url"]["set"] == "OK"


ASKS = "redis-cli -e --no-auth-warning"
BY_URL = f'{ASKS} -u "$ROLE_URL"'
BY_PARTS = f'REDISCLI_AUTH="$ROLE_PASSWORD" {ASKS} -h "$ROLE_HOST" -p "$ROLE_PORT" --user "$ROLE_USERNAME"'


@pytest.mark.parametrize("port", PORTS)
def test_redis_cli_uses_what_systemd_and_a_shell_read(tier: Tier, written: dict[str, Path], port: str) -> None:
    host = tier.host("gateway")
    for service, role in WAYS:
        host.sh("umask 077; cat >/run/service.env", input=(written[port] / f"{service}.env").read_text())
        key = key_of(service, role)
        for way in (BY_URL, BY_PARTS):
            asks = way.replace("$ROLE", f"$REDIS_{role.upper()}")
            piped = f"printf 'MULTI\\nINCR {key}:n\\nEXEC\\nDEL {key}:n\\n' | {asks}"
            script = f"{asks} SET {key} {port} EX 60; {asks} GET {key}; {piped}"
            by_systemd = ["systemd-run", "-qP", "-p", "EnvironmentFile=/run/service.env", "sh", "-c"]
            by_shell = ["sh", "-c", f"set -a; . /run/service.env; {script}"]
            said = f"OK\n{port}\nOK\nQUEUED\n1\n1\n"
            assert host.sh(shlex.join([*by_systemd, script.replace("$", "$$")])) == said, (service, role, way)
            assert host.sh(shlex.join(by_shell)) == said, (service, role, way)


@pytest.mark.parametrize("port", PORTS)
def test_redis_py_connects_by_each_url(tier: Tier, written: dict[str, Path], port: str) -> None:
    for service, role in WAYS:
        url = as_docker_reads(written[port] / f"{service}.env")[f"REDIS_{role.upper()}_URL"]

        def used(url: str = url, key: str = key_of(service, role)) -> tuple[str, str]:
            with redis.Redis.from_url(url, decode_responses=True, protocol=2) as client:
                client.set(key, port, ex=60)
                return str(client.execute_command("ACL WHOAMI")), str(client.get(key))  # type: ignore[no-untyped-call]

        assert in_namespace(tier.lab.netns, used) == (service, port)
