"""docs/runbook.md, what a deploy refuses: it says where to read on, has changed nothing, and the entry leads out."""

import pytest

from tests.hosts.conftest import TABLE, Tier, output, overriding
from tests.hosts.runbook_steps import ROLE, follow, sees
from tests.runbook import entries

pytestmark = pytest.mark.hosts


def refused(tier: Tier, name: str, **fields: object) -> None:
    """A deploy with these fields of the role is, in the entry's words, and the entry's commands lead out of it."""
    pid = tier.pid(ROLE)
    words, fine = entries()[name].quotes
    done = tier.run("deploy.py", *overriding({ROLE: fields}))
    assert done.returncode != 0
    sees(done, words)
    assert f"(docs/runbook.md#{name})" in " ".join(output(done).split())
    sees(follow(tier, name)[-1], fine)
    assert tier.pid(ROLE) == pid


def test_a_host_does_not_fit(onebox: Tier) -> None:
    refused(onebox, "a-host-does-not-fit", maxmemory="900gb")


def test_a_port_is_taken(onebox: Tier) -> None:
    assert TABLE[ROLE]["port"] != 22
    refused(onebox, "a-port-is-taken", port=22)


def test_data_under_another_name(onebox: Tier) -> None:
    refused(onebox, "data-under-another-name", dbfilename="another.rdb")
