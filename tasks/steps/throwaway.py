"""A throw-away server: a second redis-server, without port, that does something for a role before its own one runs.

One tries a candidate (tasks/steps/trial.py), one converts data on disk (tasks/steps/convert.py). Pure.
"""

from __future__ import annotations

from collections.abc import Mapping

from tasks.desired.host import Instance
from tasks.desired.rendering import config_text


def private_config(instance: Instance, changes: Mapping[str, str]) -> str:
    """The role's configuration for a server that nobody but root on this host can reach."""
    private = {"port": "0", "supervised": "no", "pidfile": "", "aclfile": ""}
    # It reads no certificate then: those may not be there yet.
    tls = {name: off for name, off in (("tls-port", "0"), ("tls-replication", "no")) if name in instance.settings}
    return config_text(instance.role, {**instance.settings, **private, **tls, **changes})
