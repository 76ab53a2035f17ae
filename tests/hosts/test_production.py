"""Production's own catalogue and inventories on real hosts, whatever they say: they come up, and are in sync."""

from collections.abc import Iterator

import pytest

from tests.hosts.conftest import Tier, output
from tests.lab.containers import ContainerLab
from tests.lab.debian import Suite
from tests.lab.layouts import layout
from tests.tree import REPOSITORY

pytestmark = pytest.mark.hosts


@pytest.fixture(scope="module", params=[("prod", "bookworm"), ("onebox", "trixie")], ids=["prod", "onebox"])
def production(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tier]:
    """The hosts of an inventory of this repository, deployed."""
    name: str
    suite: Suite
    name, suite = request.param
    with ContainerLab(layout(name, suite)) as lab:
        secrets = tmp_path_factory.mktemp("production") / "secrets.yaml"
        tier = Tier(lab, f"inventory/{name}.py", secrets, repository=REPOSITORY)
        tier.deploy()
        yield tier


def test_it_is_deployed_and_proved_and_a_second_deploy_changes_nothing(production: Tier) -> None:
    result = production.deploy_json()
    assert [row["name"] for row in result["results"]["operations"]] == ["Prove the tier"]
    assert result["results"]["totals"]["success"] == 0


def test_it_is_in_sync(production: Tier) -> None:
    done = production.run("tasks/drift.py")
    assert done.returncode == 0, output(done)
