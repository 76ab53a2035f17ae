"""The groups of inventory/staging.py and inventory/staging_one.py: the roles' machines, and how to log in to them."""

from typing import Any

from pyinfra.api.exceptions import PyinfraError

from tests.lab.debian import LabError
from tests.lab.vm_layouts import STAGING, Layout, VmSpec
from tests.lab.vms import staging_key, staging_known_hosts

Group = list[tuple[str, dict[str, Any]]]


def groups(layout: Layout) -> dict[str, Group]:
    """A group for each role of group_data/roles.yaml: one that is added there is rehearsed. Raises PyinfraError."""
    try:
        return {f"redis_{role}": [_host(spec, layout)] for role, spec in STAGING[layout]().items()}
    except LabError as error:
        raise PyinfraError(str(error)) from None


def _host(spec: VmSpec, layout: Layout) -> tuple[str, dict[str, Any]]:
    return (
        spec.name,
        {
            "ssh_hostname": "127.0.0.1",
            "ssh_port": spec.ssh_port,
            "ssh_user": "admin",
            "ssh_key": str(staging_key(layout)),
            "ssh_known_hosts_file": str(staging_known_hosts(layout)),
            "_sudo": True,
            "redis_tried_from_others": False,  # each machine's network ends at itself
        },
    )
