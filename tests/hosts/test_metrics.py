"""Metrics on real hosts: what a scrape by plain HTTP says, what the user behind it may, what drifts and is mended."""

import json
from collections.abc import Iterator
from urllib.parse import quote
from urllib.request import urlopen

import pytest

from tests.hosts.clients import in_namespace
from tests.hosts.conftest import ROLES, TABLE, Tier, layout, operations, output
from tests.lab.containers import ContainerLab
from tests.lab.debian import Suite

pytestmark = pytest.mark.hosts

SUITES: tuple[Suite, ...] = ("bookworm", "trixie")
PLACE = "172.28.2.1:9121"
UNIT = "caas-redis-metrics.service"
PASSWORDS = "/etc/redis/metrics.passwords"
WITH_METRICS = ("--data", f"redis_metrics={json.dumps({'address': PLACE})}")


def get(tier: Tier, url: str) -> str:
    """What plain HTTP says, in the hosts' network."""
    return in_namespace(tier.lab.netns, lambda: str(urlopen(url, timeout=10).read(), "utf-8"))


def target(role: str) -> str:
    return f"redis://{TABLE[role]['address']}:{TABLE[role]['port']}"


def scraped(tier: Tier, role: str) -> dict[str, str]:
    """Series → value of one role."""
    text = get(tier, f"http://{PLACE}/scrape?target={quote(target(role), safe='')}")
    return dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))  # type: ignore[misc]


@pytest.fixture(scope="module", params=SUITES)
def tier(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tier]:
    """All five roles on one host that measures them, on each Debian."""
    with ContainerLab(layout("onebox", request.param)) as lab:
        secrets = tmp_path_factory.mktemp("metrics") / "secrets.yaml"
        tier = Tier(lab, "inventory/onebox.py", secrets, options=WITH_METRICS)
        tier.deploy()
        yield tier


def in_sync(tier: Tier) -> None:
    """Neither a drift check nor a deploy finds anything to do."""
    done = tier.run("tasks/drift.py")
    assert done.returncode == 0, output(done)
    assert operations(tier.deploy()) == ["Prove the tier"]


def test_a_scrape_says_that_each_role_is_up_and_how_much_memory_it_has(tier: Tier) -> None:
    for role in ROLES:
        found = scraped(tier, role)
        assert found["redis_up"] == "1", found
        assert float(found["redis_memory_used_bytes"]) > 100_000
        with tier.operator(role) as operator:
            assert float(found["redis_memory_max_bytes"]) == int(operator.config_get("maxmemory")["maxmemory"])


def test_a_second_deploy_does_nothing(tier: Tier) -> None:
    in_sync(tier)
