"""Who is a user of a role: its services, and those of this tool. Pure."""

from __future__ import annotations

from tasks.catalogue.acl_rules import OPERATOR, REPLICATION
from tasks.catalogue.backup import READER
from tasks.catalogue.metrics import METRICS
from tasks.catalogue.roles import Role


def users_of(role: Role) -> tuple[str, ...]:
    """Every ACL user of a role that has a password."""
    beside = [READER] * role.backed_up + [METRICS] * role.measured + [REPLICATION] * role.paired
    return (*role.services, OPERATOR, *beside)
