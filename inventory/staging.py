"""Staging: the rehearsal's throw-away VMs on this machine, one per role (`python -m tests.lab.vmctl up`)."""

from tests.lab.vm_layouts import STAGING as _STAGING
from tests.lab.vms import staging_key as _key
from tests.lab.vms import staging_known_hosts as _known_hosts


def _host(role):
    spec = next(spec for spec in _STAGING if spec.name == f"staging-{role}")
    return [
        (
            spec.name,
            {
                "ssh_hostname": "127.0.0.1",
                "ssh_port": spec.ssh_port,
                "ssh_user": "admin",
                "ssh_key": str(_key()),
                "ssh_known_hosts_file": str(_known_hosts()),
                "_sudo": True,
            },
        )
    ]


redis_gateway = _host("gateway")
redis_socket = _host("socket")
redis_shared = _host("shared")
redis_compliance = _host("compliance")
redis_crypto = _host("crypto")
