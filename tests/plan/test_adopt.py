"""A Redis of somebody else's in the place of a role, and roles that left: what is asked, shown, refused and done."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from tasks.desired.host import Host
from tasks.observed.state import Observed
from tests.plan.harness import Result, Site, run
from tests.plan.hosts import READ_PACKAGES, READ_STAMP, changing, production, takes
from tests.plan.redis import Error, OtherRedis
from tests.unit.builders import as_desired, fresh, with_listener, with_unit
from tests.unit.observed.printed import answers_text

PID = 812
SECRET = "an-old-server-s-password"
PACKAGED = "redis-server.service"
SAYS = answers_text(
    {
        "directory": "/var/lib/redis",
        "reachable": "yes",
        "runs_as": "111:115:115 ",
        "unit": PACKAGED,
        "file": "112 /var/lib/redis/dump.rdb",
    },
    PID,
)
READS = {"ask-others process 812 .*": SAYS}  # the one command that looks at foreign processes
CONFIG: Mapping[str, object] = {
    f"CONFIG GET {name}": [name, value]
    for name, value in {
        "dir": "/var/lib/redis",
        "dbfilename": "dump.rdb",
        "appendonly": "no",
        "appenddirname": "appendonlydir",
        "appendfilename": "appendonly.aof",
        "save": "3600 1",
        "shutdown-on-sigterm": "default",
    }.items()
}
INFO = "redis_version:7.0.15\r\nrole:master\r\nused_memory:1000000\r\ndb0:keys=7,expires=1,avg_ttl=0\r\n"
OTHER = OtherRedis({"INFO": INFO, **CONFIG})


def occupied(host: Host) -> Observed:
    """A bare host on which the packaged server runs."""
    observed = with_listener(fresh(host), "127.0.0.1", 6379, "redis-server", PID)
    return with_unit(observed, PACKAGED, LoadState="loaded", ActiveState="active", MainPID=str(PID))


def gateway(other: OtherRedis = OTHER) -> dict[str, Site]:
    """The production hosts, the packaged server with data on the gateway's."""
    commands = {**READS, READ_STAMP: "", READ_PACKAGES: ""}
    return production(gateway=Site([occupied], commands, others={("127.0.0.1", 6379): other}))


def refused(result: Result) -> str:
    """The one finding of a refused run on the gateway's host, on which nothing but looking was done."""
    assert result.exit_code != 0
    assert "Traceback" not in result.output
    (line,) = [line for line in result.plan if line.startswith("redis-gateway: ")]
    (command,) = result.commands("redis-gateway")
    assert command.startswith("ask-others process 812 ")
    assert [
        event.text for event in result.events if event.text.startswith(("another: CONFIG SET", "another: BG"))
    ] == []
    return line


@pytest.mark.parametrize("option", ["-y", "--dry"])
def test_a_packaged_server_with_data_is_not_masked_but_refused(secrets_file: Path, option: str) -> None:
    line = refused(run(gateway(), option, secrets_file=secrets_file))
    assert "unit redis-server.service, with data: 7 keys, directory /var/lib/redis" in line
    assert "adopt its data with --data adopt=gateway" in line


def test_where_nobody_else_serves_nothing_is_asked(secrets_file: Path) -> None:
    result = run(production(), "--dry", secrets_file=secrets_file)
    assert result.exit_code == 0, result.output
    assert [event.text for event in result.events if "another" in event.text or "process 812" in event.text] == []
    assert [result.looks(host) for host in production()] == [1] * 5
    assert [result.commands(host) for host in production()] == [[]] * 5


def test_a_server_with_a_password_is_asked_with_that_of_default_and_nobody_sees_it(secrets_file: Path) -> None:
    locked = replace(OTHER, password=SECRET)
    line = refused(run(gateway(locked), "-y", secrets_file=secrets_file))
    assert "keys unknown (NOAUTH Authentication required.)" in line
    assert "put the password of its user default into the secrets file: gateway: {default: …}" in line
    known = yaml.safe_load(secrets_file.read_text())
    known["gateway"]["default"] = SECRET
    secrets_file.write_text(yaml.safe_dump(known))
    result = run(gateway(locked), "-vvv", "--debug", "--dry", secrets_file=secrets_file)
    assert "with data: 7 keys" in refused(result)
    assert SECRET not in result.output
    assert SECRET not in str([event for event in result.events if event.kind != "exchange"])


def test_a_dry_run_shows_the_adoption_and_asks_the_old_server_nothing_but_questions(secrets_file: Path) -> None:
    result = run(gateway(), "--dry", "--data", "adopt=gateway", secrets_file=secrets_file)
    assert result.exit_code == 0, result.output
    assert (
        "redis-gateway: gateway: persistence data: 7 keys, directory /var/lib/redis, of redis-server, pid 812, unit "
        "redis-server.service → in /var/lib/redis/gateway (adopt)"
    ) in result.plan
    sent = {event.text for event in result.events if event.text.startswith("another: ")}
    assert sent == {"another: INFO", *(f"another: {text}" for text in CONFIG)}
    assert len(changing(result.commands("redis-gateway"))) == 1
    names = result.names()
    wanted = ["Mark the roles that adopt data", "Install Redis", "Adopt the data of other servers", "Start instances"]
    assert [name for name in names if name in wanted] == wanted
    assert names.index("Check the adopted keys") == names.index("Start instances") + 1


def test_an_old_server_that_hides_its_configuration_cannot_be_adopted(secrets_file: Path) -> None:
    hides = OtherRedis({"INFO": INFO, **dict.fromkeys(CONFIG, Error("ERR unknown command 'CONFIG'"))})
    line = refused(run(gateway(hides), "-y", "--data", "adopt=gateway", secrets_file=secrets_file))
    assert "does not tell what it holds: CONFIG GET: ERR unknown command 'CONFIG', expected answers to INFO" in line


@pytest.mark.parametrize("command", ["deploy.py", "tasks/verify.py", "tasks/drift.py"])
@pytest.mark.parametrize("option", ["adopt=gatway", "adopt=../x", "purge=..", "purge=/"])
def test_a_wrong_name_is_refused_before_any_connection(secrets_file: Path, option: str, command: str) -> None:
    result = run(production(), "-y", "--data", option, secrets_file=secrets_file, command=command)
    assert result.exit_code != 0
    assert result.events == []
    assert option.partition("=")[2] in result.output
    assert "Traceback" not in result.output


# Roles that left

SPARE = """
redis_crypto = ["redis-crypto"]
spare = ["redis-socket"]
"""


def had_socket(host: Host) -> Observed:
    """A host without roles on which the unit of one is left."""
    unit = {"LoadState": "loaded", "ActiveState": "active", "UnitFileState": "enabled", "MainPID": "701"}
    observed = as_desired(host)
    return replace(
        observed,
        our_units=("redis-socket.service",),
        units={**observed.units, "redis-socket.service": unit},
        data_used={"/var/lib/redis/socket": 3 << 20},
    )


RETIRES = (
    "end to stop redis-socket.service",
    "systemctl disable --quiet --now redis-socket.service",
    "rm -f /etc/systemd/system/redis-socket.service /etc/redis/socket.conf /etc/redis/socket.acl "
    "/etc/redis/socket.pem /etc/redis/socket.ca /etc/redis/socket.crt /etc/redis/socket.key "
    "/var/lib/caas-redis/socket.ca /usr/local/lib/caas-redis/guard-socket /etc/redis/socket.peer "
    "/run/caas-redis/socket.served /var/lib/caas-redis/socket.promoted",
    "systemctl daemon-reload",
)
SAYS_SIZE = {r"du -sh /var/lib/redis/socket": "3.0M\t/var/lib/redis/socket"}


@pytest.fixture
def spare(tmp_path: Path) -> str:
    """An inventory with a host that carries no role, any more."""
    inventory = tmp_path / "spare.py"
    inventory.write_text(SPARE)
    return str(inventory)


def test_the_last_role_is_taken_off_and_the_place_of_its_data_said(spare: str, secrets_file: Path) -> None:
    sites = {
        "redis-crypto": Site([as_desired]),
        "redis-socket": Site([had_socket, as_desired], {**takes(*RETIRES), **SAYS_SIZE}),
    }
    result = run(sites, "-y", secrets_file=secrets_file, inventory=spare)
    assert result.exit_code == 0, result.output
    assert result.commands("redis-socket") == [*RETIRES, "du -sh /var/lib/redis/socket"]
    (said,) = [line for line in result.plan if "socket: its data is kept in /var/lib/redis/socket (3.0M): " in line]
    assert said.endswith(": no file with data was seen; --data purge=socket deletes it")


def test_the_drift_check_counts_a_host_without_roles_in_every_form(
    spare: str, secrets_file: Path, tmp_path: Path
) -> None:
    files = {form: tmp_path / form for form in ("drift_report", "drift_page", "drift_metrics")}
    options = [word for form, path in files.items() for word in ("--data", f"{form}={path}")]
    for state, words in ((had_socket, "drifted"), (as_desired, "in sync")):
        sites = {"redis-crypto": Site([as_desired]), "redis-socket": Site([state])}
        result = run(sites, "-y", *options, secrets_file=secrets_file, inventory=spare, command="tasks/drift.py")
        assert (result.exit_code == 0) == (words == "in sync")
        assert words in result.stdout
        found = json.loads(files["drift_report"].read_text())["hosts"]["redis-socket"]
        assert (found["status"], len(found["differences"])) == (words.replace(" ", "_"), int(words == "drifted"))
        assert all("redis-socket" in path.read_text() for path in files.values())


def test_drills_leave_a_host_without_roles_alone(tmp_path: Path, secrets_file: Path) -> None:
    inventory = tmp_path / "staging.py"
    inventory.write_text(SPARE.replace('"]', '", {"redis_rehearsal": True})]').replace('["', '[("'))
    sites = {"redis-crypto": Site([as_desired]), "redis-socket": Site([as_desired])}
    result = run(sites, "--dry", secrets_file=secrets_file, inventory=str(inventory), command="tasks/rehearse.py")
    assert result.exit_code == 0, result.output
    assert "    crypto: killed under writes, it is back by itself" in result.output
    assert "    socket: " not in result.output
