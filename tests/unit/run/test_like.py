"""What a run takes of another inventory (tasks/run/like.py): read from files, nobody asked, no secret looked at."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from pyinfra.api import Config, State
from pyinfra.api.inventory import Inventory
from pyinfra.context import ctx_config, ctx_state
from pyinfra_cli.inventory import make_inventory_from_files

from tasks.catalogue.roles import Role
from tasks.catalogue.scaling import MIB
from tasks.run.older_state import plain_words
from tasks.run.tier import Tier, build_tier
from tests.tree import copy_of_tree
from tests.unit.builders import password

MACHINES = """
_own = {"ssh_hostname": "192.0.2.1", "redis_rehearsal": True, "redis_overrides": {"gateway": {"address": "192.0.2.1"}}}
redis_gateway = [("machine", _own)]
"""
OTHER = """
redis_gateway = [("production", {
    "ssh_hostname": "172.28.2.1",
    "redis_overrides": {"gateway": {"maxmemory": "384mb", "allow_from": ["10.8.0.0/16"], "address": "10.0.0.1"}},
})]
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A tree to change, in which an operator runs the commands."""
    directory = copy_of_tree(tmp_path / "tree")
    (directory / "inventory" / "machines.py").write_text(MACHINES)
    (directory / "inventory" / "other.py").write_text(OTHER)
    secrets = directory / "secrets.yaml"
    users = ("operator", "gateway", "auth-service")
    secrets.write_text(json.dumps({"gateway": {user: password("gateway", user) for user in users}}))
    secrets.chmod(0o600)
    monkeypatch.chdir(directory)
    with ctx_state.use(State()):  # as it is when pyinfra runs an inventory
        yield directory


def inventory(here: Path, data: Mapping[str, Any], name: str = "machines.py") -> Inventory:
    """What pyinfra makes of it with this --data."""
    file = str(Path("inventory") / name)
    return make_inventory_from_files(file, {"redis_secrets_file": "secrets.yaml", **data}, str(here))


def built(here: Path, name: str = "machines.py", **data: Any) -> tuple[Tier, list[str]]:
    return build_tier(inventory(here, data, name), f"inventory/{name}", new_passwords=False)


def gateway(here: Path, **data: Any) -> Role:
    tier, problems = built(here, **data)
    assert problems == []
    (role,) = tier.hosts["machine"].roles
    return role


def test_a_role_is_as_the_other_inventory_has_it_and_answers_where_it_did(here: Path) -> None:
    role = gateway(here, like="inventory/other.py")
    assert role.maxmemory == 384 * MIB
    assert [str(network) for network in role.allow_from or ()] == ["10.8.0.0/16"]
    assert str(role.address) == "192.0.2.1"
    assert gateway(here).maxmemory == 256 * MIB


def test_data_of_its_groups_counts_as_pyinfra_would_have_it(here: Path) -> None:
    (here / "inventory" / "other.py").write_text('redis_gateway = ["production"]\n')
    (here / "group_data" / "redis_gateway.py").write_text('redis_overrides = {"gateway": {"hz": 20}}\n')
    (here / "group_data" / "other.py").write_text('redis_version = "5:7.0.15-1"\nredis_sysctl = {"vm.swappiness": 1}\n')
    (here / "inventory" / "group_data").mkdir()
    (here / "inventory" / "group_data" / "all.py").write_text('redis_overrides = {"gateway": {"hz": 30}}\n')
    tier, problems = built(here, like="inventory/other.py")
    assert problems == []
    host = tier.hosts["machine"]
    assert (host.redis_version, dict(host.sysctls)) == ("5:7.0.15-1", {"vm.swappiness": "1"})
    assert host.roles[0].hz == 20


def test_no_secret_of_the_other_inventory_is_read(here: Path) -> None:
    told = here / "told"
    (here / "secrets").mkdir()
    (here / "secrets" / "other.yaml").symlink_to("/proc/self/mem")  # nobody may read that, not even root
    command = ["touch", str(told)]
    (here / "group_data" / "other.py").write_text(
        f"redis_secrets_command = {command}\nredis_secrets_file = 'secrets/other.yaml'\n"
    )
    tier, problems = built(here, like="inventory/other.py")
    assert problems == []
    assert not told.exists()
    assert tier.passwords["machine"]["gateway"]["operator"] == password("gateway", "operator")
    assert tier.sources == {"machine": Path("secrets.yaml")}


def test_another_inventory_stays_as_it_is_and_so_does_the_run_s_own(here: Path) -> None:
    hosts = inventory(here, {"like": "inventory/other.py"})
    before = {host.name: host.data.dict() for host in hosts}
    build_tier(hosts, "inventory/machines.py", new_passwords=False)
    assert {host.name: host.data.dict() for host in hosts} == before


def test_what_the_other_inventory_sets_for_its_own_runs_is_not_for_this_one(here: Path) -> None:
    (here / "inventory" / "other.py").write_text(f"from pyinfra import config\nconfig.SUDO = True\n{OTHER}")
    config = Config()
    with ctx_config.use(config):
        assert built(here, like="inventory/other.py")[1] == []
    assert config.SUDO is False


def test_a_run_says_that_it_is_like_another_and_smaller_than_asked_for(here: Path) -> None:
    tier, _ = built(here, like="inventory/other.py", scale=0.5)
    said = tier.notices()
    assert "like=inventory/other.py: the roles are as that inventory has them" in said
    assert f"scale=0.5: {len(tier.likeness.smaller)} settings are smaller than they are asked for" in said
    assert not any("like" in note or "scale" in note for note in built(here)[0].notices())


REFUSED = {
    "inventory/nobody.py": "like=inventory/nobody.py: no such file in ",
    "": "like=: no such file in ",
    "inventory": "like=inventory: is a directory, expected an inventory file: name one of those in it",
    "/dev/null": "like=/dev/null: is no inventory, expected a Python file with groups redis_<role>: name one",
    "deploy.py": "like=deploy.py: is no inventory, expected a Python file",
    "tasks/verify.py": "like=tasks/verify.py: is no inventory, expected a Python file",
    "group_data/roles.yaml": "like=group_data/roles.yaml: is no inventory, line ",
    "group_data/all.py": "like=group_data/all.py: no host in a group redis_<role> there: name the inventory",
    "inventory/prod.py": "like=inventory/prod.py: compliance: redis-compliance carries it there, no host of this run",
}


@pytest.mark.parametrize("like", REFUSED)
def test_what_is_no_other_inventory_is_refused_in_a_sentence(here: Path, like: str) -> None:
    _, problems = built(here, like=like)
    assert problems[0].startswith(REFUSED[like])
    assert len(problems) == (4 if like == "inventory/prod.py" else 1)
    assert "\n" not in problems[0]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("redis_gateway = [1 / 0]\n", "is no inventory, line 1: ZeroDivisionError: division by zero: correct it"),
        ("\nraise SystemExit(0)\n", "is no inventory, line 2: SystemExit: 0: correct it, or name another"),
        ("import nothing_of_this_name\n", "is no inventory, line 1: ModuleNotFoundError: "),
        ("redis_gateway = ['@nobody/a']\n", "@nobody asks a program for its hosts, expected names in the file"),
        ("redis_gateway = (['@terraform'], {})\n", "@terraform asks a program for its hosts, expected names in the"),
        ("redis_gateway = [('@vagrant/a', {})]\n", "@vagrant asks a program for its hosts, expected names in the file"),
        ("redis_gateway = []\n", "no host in a group redis_<role> there"),
        ("redis_socket = ['a']\n", "gateway: no host there carries it, machine of this run does"),
        ("redis_gateway = ['a']\nredis_nobody = ['b']\n", "nobody: b carries it there, no host of this run does"),
        ("redis_gateway = [('a', {'redis_overrides': 7})]\n", "a: redis_overrides: expected role → fields, observed 7"),
    ],
)
def test_a_file_that_is_none_inside_is_refused_in_a_sentence(here: Path, text: str, said: str) -> None:
    (here / "inventory" / "other.py").write_text(text)
    _, problems = built(here, like="inventory/other.py")
    assert problems[0].startswith(f"like=inventory/other.py: {said}")


def test_a_field_of_there_that_cannot_be_is_said_with_where_it_stands(here: Path) -> None:
    (here / "inventory" / "other.py").write_text(OTHER.replace("384mb", "384 mb"))
    _, (said,) = built(here, like="inventory/other.py")
    assert said.startswith(
        "machine: redis_overrides of inventory/other.py: gateway: maxmemory: '384 mb' is not a Redis"
    )


@pytest.mark.parametrize("data", [{"like": "inventory/other.py"}, {"scale": 0.5}])
def test_production_itself_is_never_made_like_anything(here: Path, data: Mapping[str, Any]) -> None:
    tier, (said,) = built(here, "prod.py", **data)
    assert said.startswith(
        f"{next(iter(data))}=: redis_rehearsal is not True of redis-gateway, redis-socket, redis-sha"
    )
    assert tier.hosts == {}


def test_a_scale_makes_roles_smaller_and_keeps_what_was_wanted(here: Path) -> None:
    tier, problems = built(here, like="inventory/other.py", scale=0.5)
    assert problems == []
    host = tier.hosts["machine"]
    assert (host.roles[0].maxmemory, host.scale) == (192 * MIB, 0.5)
    assert ("maxmemory", "384mb", "192mb") in {
        (item.setting, item.wanted, item.used) for item in tier.likeness.smaller if item.role == "gateway"
    }
    assert tier.likeness.like == "inventory/other.py"


def test_a_scale_alone_makes_the_run_s_own_roles_smaller(here: Path) -> None:
    assert gateway(here, scale=0.5).maxmemory == 128 * MIB
    assert built(here)[0].likeness.smaller == ()
    assert built(here)[0].hosts["machine"].scale == 1.0
    assert built(here, "prod.py")[0].hosts["redis-gateway"].scale is None


def test_what_is_no_factor_is_refused(here: Path) -> None:
    assert built(here, scale="half")[1] == [
        "scale=half: expected a number above 0 and at most 1, as scale=0.25: correct it"
    ]


def test_an_older_state_is_told_by_words_it_knows_what_its_own_inventory_said(here: Path, tmp_path: Path) -> None:
    older = copy_of_tree(tmp_path / "older")
    (older / "inventory" / "other.py").write_text(OTHER.replace("384mb", "320mb"))
    hosts = inventory(here, {"like": "inventory/other.py", "scale": 0.5})
    words, problems = plain_words(hosts, older)
    assert problems == []
    told = dict(word.split("=", 1) for word in words[1::2])
    assert set(words[::2]) == {"--data"}
    gateway = json.loads(told["redis_overrides"])["gateway"]
    assert gateway["maxmemory"] == 160 * MIB
    assert gateway["address"] == "192.0.2.1"
    assert json.loads(told["redis_sysctl"]) == {"net.core.somaxconn": 4096, "vm.overcommit_memory": 1}
    (older / "inventory" / "other.py").unlink()  # as where inventories are in no repository
    words, _ = plain_words(hosts, older)
    assert '"maxmemory": 201326592' in words[1]


def test_an_older_state_is_told_nothing_where_nothing_was_asked(here: Path) -> None:
    assert plain_words(inventory(here, {}), here) == ([], [])


def test_an_older_state_without_a_catalogue_is_said(here: Path, tmp_path: Path) -> None:
    words, (said,) = plain_words(inventory(here, {"scale": 0.5}), tmp_path / "nothing")
    assert words == []
    assert "roles.yaml: no such file" in said


def test_what_an_older_state_s_catalogue_has_that_nobody_knows_any_more_is_said(here: Path, tmp_path: Path) -> None:
    older = copy_of_tree(tmp_path / "older")
    catalogue = older / "group_data" / "roles.yaml"
    catalogue.write_text(catalogue.read_text().replace("loglevel:", "log_level:"))
    _, problems = plain_words(inventory(here, {"scale": 0.5}), older)
    assert [line for line in problems if "log_level: unknown key" in line]
