"""`like=` and `scale=` of whole commands: what is refused before any connection, and what is wanted then."""

from pathlib import Path

import pytest

from tests.plan.harness import Result, Site, run
from tests.plan.hosts import PROD
from tests.unit.builders import as_desired, fresh

MACHINES = "".join(
    f'redis_{role} = [("{host}", {{"ssh_hostname": "192.0.2.1", "redis_rehearsal": True}})]\n'
    for host, role in PROD.items()
)
OTHER = "".join(f'redis_{role} = ["{role}-1"]\n' for role in PROD.values())
RIGHT = {host: Site([as_desired]) for host in PROD}
COMMANDS = ["deploy.py", "tasks/rehearse.py"]


@pytest.fixture
def machines(tmp_path: Path) -> str:
    """An inventory of throw-away hosts, and beside it the one that they are to be like."""
    (tmp_path / "machines.py").write_text(MACHINES)
    return str(tmp_path / "machines.py")


def told(
    machines: str,
    other: str,
    secrets_file: Path,
    *options: str,
    command: str = "deploy.py",
    sites: dict[str, Site] = RIGHT,
) -> Result:
    """The command, told to be like the inventory that `other` is the text of."""
    like = Path(machines).with_name("other.py")
    like.write_text(other)
    words = ("-y", "--data", f"like={like}", *options)
    return run(sites, *words, secrets_file=secrets_file, inventory=machines, command=command)


def refused(result: Result) -> str:
    """The one sentence of a run that contacted nobody."""
    assert result.exit_code == 1, result.output
    assert result.events == []
    assert "Traceback" not in result.output
    (said,) = [line for line in result.plan if "like=" in line]
    return said


@pytest.mark.parametrize("command", COMMANDS)
def test_what_is_no_inventory_stops_a_run_in_one_sentence_before_any_connection(
    secrets_file: Path, machines: str, tmp_path: Path, command: str
) -> None:
    for like, said in ((tmp_path / "nobody.py", "no such file"), (tmp_path, "is a directory")):
        words = ("-y", "--data", f"like={like}")
        result = run(RIGHT, *words, secrets_file=secrets_file, inventory=machines, command=command)
        assert f"like={like}: {said}" in refused(result)
    assert "is no inventory, line 1: SyntaxError" in refused(told(machines, "a b", secrets_file, command=command))


@pytest.mark.parametrize("command", COMMANDS)
def test_a_role_that_only_one_has_stops_a_run_in_one_sentence(secrets_file: Path, machines: str, command: str) -> None:
    less = OTHER.replace('redis_crypto = ["crypto-1"]\n', "")
    said = refused(told(machines, less, secrets_file, command=command))
    assert "crypto: no host there carries it, redis-crypto of this run does" in said
    more = f'{OTHER}redis_scratch = ["scratch-1"]\n'
    said = refused(told(machines, more, secrets_file, command=command))
    assert "scratch: scratch-1 carries it there, no host of this run does" in said


@pytest.mark.parametrize("command", [*COMMANDS, "tasks/verify.py", "tasks/drift.py"])
def test_production_is_never_made_like_another_inventory(secrets_file: Path, tmp_path: Path, command: str) -> None:
    other = tmp_path / "other.py"
    other.write_text(OTHER)
    result = run(RIGHT, "-y", "--data", f"like={other}", secrets_file=secrets_file, command=command)
    assert "redis_rehearsal is not True of redis-gateway, redis-socket" in refused(result)


def test_every_command_wants_the_roles_of_the_other_inventory(secrets_file: Path, machines: str) -> None:
    done = told(machines, OTHER, secrets_file)
    assert done.exit_code == 0, done.output
    other = OTHER.replace('["crypto-1"]', '[("crypto-1", {"redis_overrides": {"crypto": {"databases": "many"}}})]')
    for command in ("deploy.py", "tasks/verify.py", "tasks/drift.py", "tasks/rehearse.py"):
        result = told(machines, other, secrets_file, command=command)
        assert "other.py: crypto: databases: 'many' was given: " in result.output, command
        assert result.events == []


def test_a_role_that_does_not_fit_is_refused_by_words_that_name_the_scale(secrets_file: Path, machines: str) -> None:
    other = OTHER.replace('["crypto-1"]', '[("crypto-1", {"redis_overrides": {"crypto": {"maxmemory": "64gb"}}})]')
    sites = {**RIGHT, "redis-crypto": Site([fresh])}
    result = told(machines, other, secrets_file, sites=sites)
    assert result.exit_code == 1
    assert (
        "the host has 16384 MiB: rehearse it smaller by --data scale=0.11, or give the machine more memory"
        in result.output
    )
    assert result.commands("redis-crypto") == []
    dry = told(machines, other, secrets_file, "--dry", "--data", "scale=0.11", sites=sites)
    assert dry.exit_code == 0, dry.output


def test_a_dry_rehearsal_says_what_it_is_like(secrets_file: Path, machines: str) -> None:
    result = told(machines, OTHER, secrets_file, "--dry", "--data", "scale=0.5", command="tasks/rehearse.py")
    assert result.exit_code == 0, result.output
    assert "other.py: the roles are as that inventory has them" in result.output
    assert "note: scale=0.5: 35 settings are smaller than they are asked for" in result.output


def test_a_commit_that_is_none_stops_a_rehearsal_before_a_host_is_looked_at(secrets_file: Path, machines: str) -> None:
    for ref in ("nobody", "--all", ""):
        words = ("-y", "--data", f"from={ref}")
        result = run(RIGHT, *words, secrets_file=secrets_file, inventory=machines, command="tasks/rehearse.py")
        assert f"Nothing was rehearsed: from={ref}: no such commit: name a commit, tag or branch" in result.output
        assert result.exit_code == 1
        assert [command for host in PROD for command in result.commands(host)] == []
