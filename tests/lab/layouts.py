"""The hosts of each lab layout, as data: the production addresses, on one host each or all on one."""

from dataclasses import dataclass, replace

from tests.lab.debian import Suite


@dataclass(frozen=True)
class HostSpec:
    """One lab host. The first address is the primary one; every address is a /24."""

    name: str
    addresses: tuple[str, ...]
    suite: Suite = "bookworm"


PROD = (
    HostSpec("redis-gateway", ("172.28.2.1",)),
    HostSpec("redis-socket", ("172.28.2.2",)),
    HostSpec("redis-shared", ("172.28.2.3",)),
    HostSpec("redis-compliance", ("172.28.2.4",)),
    HostSpec("redis-crypto", ("172.28.2.5",)),
)
ONEBOX = (HostSpec("redis-1", tuple(address for spec in PROD for address in spec.addresses)),)

LAYOUTS = {"prod": PROD, "onebox": ONEBOX}


def layout(name: str, suite: Suite) -> tuple[HostSpec, ...]:
    """The hosts of layout `name`, all of them on `suite`."""
    return tuple(replace(spec, suite=suite) for spec in LAYOUTS[name])
