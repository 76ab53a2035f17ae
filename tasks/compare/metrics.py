"""The exporter of metrics: whether it was started with what it should have, and listens where it should. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from tasks.compare.difference import ByHand, Difference, Remedy
from tasks.desired.host import Exporter, Host
from tasks.desired.paths import METRICS_UNIT, PACKAGED_EXPORTER, credential
from tasks.observed.foreign_listeners import EVERYWHERE
from tasks.observed.state import Listener, Observed

ALONE = "nobody beside the exporter"


def metrics_differences(desired: Host, observed: Observed) -> Iterator[Difference]:
    """What of a running exporter is not as it should be; of one that does not run its unit's difference tells."""
    item = desired.exporter
    if item is None:
        return
    if item.address not in observed.addresses:
        remedy = ByHand("give the host this address, or correct redis_metrics")
        yield Difference(None, "address", item.address, "on this host", "absent", remedy)
    if observed.is_active(METRICS_UNIT):
        yield from _started_with(item, observed)
        yield from _listeners(item, observed)
    for other in in_its_place(item, observed):
        found = f"{other.process}, pid {other.pid}" if other.pid else "another process"
        where = f"{other.address}:{other.port}"
        remedy = ByHand("stop that process, or choose another port in redis_metrics")
        yield Difference(None, "listener", where, ALONE, found, remedy)


def _started_with(item: Exporter, observed: Observed) -> Iterator[Difference]:
    """Passwords and certificates that changed since: it reads them once."""
    for name, file in sorted(item.files.items()):
        state = observed.files.get(credential(METRICS_UNIT, name))
        if file.content and (state is None or state.content != file.observable):
            expected, found = f"started with its {name} as they are", "started before they changed"
            yield Difference(None, "unit", METRICS_UNIT, expected, found, Remedy.AFRESH)


def _listeners(item: Exporter, observed: Observed) -> Iterator[Difference]:
    pid = observed.pid(METRICS_UNIT)
    if "listeners" in observed.unseen or not pid:
        return
    found = {f"{listener.address}:{listener.port}" for listener in observed.listeners if listener.is_of(pid)}
    if item.place not in found:
        yield Difference(None, "listener", item.place, "listens", "does not listen", Remedy.AFRESH)
    for other in sorted(found - {item.place}):
        yield Difference(None, "listener", other, "not listened on", "listens", Remedy.AFRESH)


def in_its_place(item: Exporter, observed: Observed) -> list[Listener]:
    """Whoever else listens where Prometheus finds the exporter; not the package's own unit, which is masked."""
    pids = (observed.pid(METRICS_UNIT), observed.pid(PACKAGED_EXPORTER))
    return [
        listener
        for listener in observed.listeners
        if listener.port == item.port
        and listener.address in (item.address, *EVERYWHERE)
        and not any(map(listener.is_of, pids))
    ]
