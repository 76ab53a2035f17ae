"""Staging: the rehearsal's throw-away VMs on this machine, one for each role (`python -m tests.lab.vmctl up`)."""

from pyinfra.api.exceptions import PyinfraError as _PyinfraError

from tests.lab.debian import LabError as _LabError
from tests.lab.vm_layouts import staging as _staging
from tests.lab.vms import staging_key as _key
from tests.lab.vms import staging_known_hosts as _known_hosts


def _host(spec):
    return (
        spec.name,
        {
            "ssh_hostname": "127.0.0.1",
            "ssh_port": spec.ssh_port,
            "ssh_user": "admin",
            "ssh_key": str(_key()),
            "ssh_known_hosts_file": str(_known_hosts()),
            "_sudo": True,
            "redis_tried_from_others": False,  # each machine's network ends at itself
        },
    )


# A group for each role of group_data/roles.yaml: a role that is added there is rehearsed.
try:
    globals().update({f"redis_{_role}": [_host(_spec)] for _role, _spec in _staging().items()})
except _LabError as _error:
    raise _PyinfraError(str(_error)) from None
