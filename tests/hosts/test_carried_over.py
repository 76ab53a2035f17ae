"""A running tier is carried to five new hosts of Debian 13, role by role, under load, by editing its inventory."""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
import redis

from tests.bench.handover import LIBRARY
from tests.hosts.clients import client
from tests.hosts.conftest import FIVE, INNER_PORT, TABLE, Tier, layout, output
from tests.hosts.followers import Followed, following, lacking
from tests.lab.containers import ContainerLab, HostSpec

pytestmark = [pytest.mark.hosts, pytest.mark.soak]

KEYS = {f"kept:{number}": str(number) for number in range(2000)}
OLD = {role: TABLE[role]["address"] for role in FIVE}
NEW = {role: f"172.28.2.{number}" for number, role in enumerate(FIVE, 101)}
PAUSE = 0.02  # seconds between two steps of a client: forty of them on two cores are to be answered all the time
GAP = 5  # seconds: about one where nothing else runs, 2.6 where ten times as much ran as there are processors


@dataclass(frozen=True)
class Carried:
    """The tier, and where an operator of a role finds it."""

    tier: Tier

    def place(self, *carried: str) -> Tier:
        """The inventory in which these roles are on their new hosts, and the others where they were."""
        rows = [
            f'redis_{role} = [("new-{role}", {{"ssh_hostname": "{NEW[role]}", "ssh_user": "root", '
            f'"redis_overrides": {{"{role}": {{"address": "{NEW[role]}"}}}}}})]'
            if role in carried
            else f'redis_{role} = [("redis-{role}", {{"ssh_hostname": "{OLD[role]}", "ssh_user": "root"}})]'
            for role in FIVE
        ]
        # Whoever is left behind is in the inventory until it has handed its role over.
        left = [f'("redis-{role}", {{"ssh_hostname": "{OLD[role]}", "ssh_user": "root"}})' for role in carried]
        spare = [f"spare = [{', '.join(left)}]"] if left else []
        Path(self.tier.inventory).write_text("\n".join([*rows, *spare]) + "\n")
        return self.tier

    def __call__(self, role: str, address: str, port: int | None = None) -> "redis.Redis":
        password = self.tier.passwords[role]["operator"]
        port = port or TABLE[role]["port"]
        return client(self.tier.lab.netns, address, port, "operator", password, every_right=True)


@pytest.fixture
def at(tmp_path: Path) -> Iterator[Carried]:
    """Five hosts of Debian 12 with keys in each role, and five bare ones of Debian 13."""
    new = [HostSpec(f"new-{role}", (NEW[role],), "trixie") for role in FIVE]
    with ContainerLab([*layout("prod", "bookworm"), *new]) as lab:
        found = Carried(Tier(lab, str(tmp_path / "tier.py"), tmp_path / "secrets.yaml"))
        found.place().deploy()
        for role in FIVE:
            with found(role, OLD[role]) as known:
                known.mset(KEYS)
                known.function_load(LIBRARY)
        yield found


def test_a_tier_is_carried_to_new_hosts_of_debian_13_and_no_acknowledged_write_is_lost(at: Carried) -> None:
    followed: dict[str, Followed] = {}
    with ExitStack() as clients:
        for role in FIVE:
            service = TABLE[role]["services"][0]
            login = (service, at.tier.passwords[role][service])
            places = [(address[role], TABLE[role]["port"]) for address in (OLD, NEW)]
            followed[role] = clients.enter_context(
                following(at.tier, f"{role} to a new host", *login, *places, pause=PAUSE)
            )
        for number, role in enumerate(FIVE, 1):
            done = at.place(*FIVE[:number]).deploy()
            assert f"{role}: moved from redis-{role}: handed over" in output(done)
    for role in FIVE:
        with at(role, NEW[role]) as known:
            assert set(lacking(known, followed[role]).values()) == {0}, role
            assert known.mget(*KEYS) == list(KEYS.values())
            assert known.info("server")["redis_version"].startswith("8.0.")
        with at(role, NEW[role], INNER_PORT) as known:
            assert known.ping()
        assert followed[role].gap < GAP, role
        assert at.tier.lab.hosts[f"redis-{role}"].sh("systemctl is-active 'redis-*' || true").strip() == ""

    # What is left is the tier of the new hosts, and nothing of it asks for the old ones.
    for role in FIVE:
        at.tier.lab.hosts[f"redis-{role}"].sh("systemctl poweroff --no-wall || true")
    lines = Path(at.tier.inventory).read_text().splitlines()
    Path(at.tier.inventory).write_text("\n".join(line for line in lines if not line.startswith("spare")) + "\n")
    assert at.tier.deploy_json()["results"]["totals"]["success"] == 0
    for file in ("tasks/verify.py", "tasks/drift.py"):
        done = at.tier.run(file)
        assert done.returncode == 0, output(done)
