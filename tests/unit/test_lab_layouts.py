"""The hosts of labs and rehearsals: those of an inventory and of the catalogue, so that a role more is a host more."""

import runpy
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from tests.lab.debian import LabError
from tests.lab.layouts import LAYOUTS, REPOSITORY, hosts_of, layout
from tests.lab.vm_layouts import VmSpec, staging, staging_on_one
from tests.tree import ROLES, catalogue, copy_of_tree, tree
from tests.unit.builders import EVERY, FIVE, roles

SIXTH = {
    "purpose": "Queries",
    "address": "172.28.2.6",
    "port": 6390,
    "maxmemory": "1gb",
    "maxmemory_policy": "allkeys-lru",
    "services": ["search-service"],
    "stores": ["queries"],
    "reason": "it is asked for",
}


@pytest.fixture
def with_a_sixth(tmp_path: Path) -> Path:
    """A tree in which an operator has added a role, as README says."""
    root = copy_of_tree(tmp_path / "tree")
    (root / ROLES).write_text(yaml.safe_dump({**catalogue(), "roles": {**catalogue()["roles"], "search": SIXTH}}))
    line = 'redis_search = [("redis-search", {"ssh_hostname": "172.28.2.6", **_root})]\n'
    (root / "inventory/prod.py").write_text((root / "inventory/prod.py").read_text() + line)
    (root / "inventory/onebox.py").write_text((root / "inventory/onebox.py").read_text() + "redis_search = _host\n")
    return root


def test_a_lab_has_a_host_for_each_of_the_inventory_at_its_role_s_address() -> None:
    hosts = {spec.name: spec.addresses for spec in layout("prod", "bookworm", tree())}
    assert hosts == {f"redis-{name}": (str(roles()[name].address),) for name in FIVE}


def test_a_host_of_several_roles_has_the_addresses_of_all_its_own_first() -> None:
    (spec,) = layout("others", "trixie", tree())
    assert (spec.name, spec.suite) == ("redis-others", "trixie")
    assert spec.addresses == ("172.28.2.21", "172.28.2.22", "172.28.2.23", "172.28.2.24")


def test_a_sixth_role_is_a_host_more_in_every_lab_and_in_the_rehearsal(with_a_sixth: Path) -> None:
    assert ("redis-search", ("172.28.2.6",)) in {
        (spec.name, spec.addresses) for spec in layout("prod", "bookworm", with_a_sixth)
    }
    assert "172.28.2.6" in layout("onebox", "bookworm", with_a_sixth)[0].addresses
    machine = staging(with_a_sixth)["search"]
    assert (machine.name, machine.addresses) == ("staging-search", ("172.28.2.6",))
    assert machine.memory_mb >= 2.15 * 1024 + 512


def test_an_override_of_an_address_is_the_host_s(tmp_path: Path) -> None:
    override = {"ssh_hostname": "172.28.2.9", "redis_overrides": {"gateway": {"address": "172.28.2.9"}}}
    (tmp_path / "own.py").write_text(f"redis_gateway = [('a', {override})]\n")
    (spec,) = hosts_of(tmp_path / "own.py", "bookworm", tree())
    assert spec.addresses == ("172.28.2.9",)


def test_a_group_without_a_role_is_refused(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text("redis_gatway = [('a', {'ssh_hostname': '172.28.2.9'})]\n")
    with pytest.raises(LabError, match=r"own.py: redis_gatway: no such role, expected one of gateway, .*: correct it"):
        hosts_of(tmp_path / "own.py", "bookworm", tree())


def test_a_rehearsal_has_a_machine_for_every_role_each_with_a_name_and_a_port_of_its_own() -> None:
    machines = staging(tree())
    assert set(machines) == set(EVERY)
    assert len({spec.name for spec in machines.values()}) == len({spec.ssh_port for spec in machines.values()}) == 9
    assert machines["night_jobs"].name == "staging-night-jobs"
    assert (machines["gateway"].memory_mb, machines["socket"].memory_mb) == (1536, 2048)


def test_a_rehearsal_on_one_machine_has_every_address_and_memory_for_all_roles() -> None:
    machines = staging_on_one(tree())
    (machine,) = set(machines.values())
    assert set(machines) == set(EVERY)
    assert set(machine.addresses) == {str(role.address) for role in roles().values()}
    assert machine.memory_mb > max(spec.memory_mb for spec in staging(tree()).values())


@pytest.mark.parametrize(("file", "specs"), [("staging.py", staging), ("staging_one.py", staging_on_one)])
def test_an_inventory_of_the_rehearsal_has_a_group_for_every_role_of_the_catalogue(
    file: str, specs: Callable[[], dict[str, VmSpec]]
) -> None:
    groups = {name: hosts for name, hosts in runpy.run_path(f"inventory/{file}").items() if name.startswith("redis_")}
    assert {group: [name for name, _ in hosts] for group, hosts in groups.items()} == {
        f"redis_{role}": [spec.name] for role, spec in specs().items()
    }


def test_no_machine_of_the_rehearsal_is_asked_to_reach_another_which_qemu_does_not_let_it() -> None:
    """Each has a network of its own (restrict=on): verify would find every port closed to the others."""
    groups = [hosts for name, hosts in runpy.run_path("inventory/staging.py").items() if name.startswith("redis_")]
    assert [data.get("redis_tried_from_others") for hosts in groups for _, data in hosts] == [False] * len(staging())


@pytest.mark.parametrize("name", LAYOUTS)
def test_the_lab_s_own_layouts_are_inventories_of_this_repository(name: str) -> None:
    assert layout(name, "bookworm", REPOSITORY)


def test_a_catalogue_that_cannot_be_used_is_refused_in_its_own_words(with_a_sixth: Path) -> None:
    file = with_a_sixth / ROLES
    file.write_text(file.read_text().replace("maxmemory: 1gb", "maxmemory: 1 gb"))
    with pytest.raises(
        LabError, match=r"cannot be used:\n  roles.yaml: search: maxmemory: '1 gb' is not a Redis memory"
    ):
        staging(with_a_sixth)
