"""From where on a tier that is as desired is not well all the same: `redis_health` of group_data/all.py at the door."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from tasks.catalogue.roles import describe

NAME = "redis_health"
Percent = Annotated[int, Field(strict=True, ge=1, le=100)]
Count = Annotated[int, Field(strict=True, ge=1)]

# A warning comes before what is critical: the first of each pair is the smaller number.
IN_ORDER = (
    ("memory_warning", "memory_critical"),
    ("clients_warning", "clients_critical"),
    ("host_memory_critical", "host_memory_warning"),
    ("crash_minutes_critical", "crash_minutes_warning"),
)


class Limits(BaseModel):
    """What health is measured by (tasks/compare/health.py); units and reasons stand beside the values."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    memory_warning: Percent
    memory_critical: Percent
    without_ttl_warning: Percent
    evicted_keys_warning: Percent
    clients_warning: Percent
    clients_critical: Percent
    client_memory_warning: Percent
    refused_writes_warning: Count
    refused_clients_warning: Count
    evicted_clients_warning: Count
    refused_logins_warning: Count
    delayed_fsyncs_warning: Count
    crashes_critical: Count
    crash_minutes_critical: Count
    crash_minutes_warning: Count
    host_memory_warning: Percent
    host_memory_critical: Percent
    standby_mib_warning: Count
    standby_seconds_warning: Count

    @model_validator(mode="after")
    def _warnings_come_first(self) -> Limits:
        for smaller, larger in IN_ORDER:
            values = getattr(self, smaller), getattr(self, larger)
            if values[0] >= values[1]:
                raise ValueError(
                    f"{smaller} {values[0]}, {larger} {values[1]}: expected {smaller} to be smaller, "
                    "for what is critical comes after its warning: correct one"
                )
        return self


def read_limits(host: str, value: object) -> tuple[Limits | None, list[str]]:
    """One host's limits, or None and what is wrong with them, one line per problem."""
    if not isinstance(value, Mapping):
        return None, [f"{host}: {NAME}: expected the mapping of group_data/all.py: run pyinfra in the repository"]
    try:
        return Limits.model_validate(dict(value)), []
    except ValidationError as error:
        advice = "copy it from group_data/all.py, an override replaces all of it"
        return None, [f"{host}: {NAME}: {line}" for line in describe(error, advice)]
