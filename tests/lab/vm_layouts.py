"""The virtual machines of each lab layout, as data: a role's real address each, or all five on one."""

from dataclasses import dataclass

from tests.lab.debian import Suite


@dataclass(frozen=True)
class VmSpec:
    """One virtual machine. Every address is a /24 on its only interface; ssh is forwarded to the first one.

    `ssh_port` is the port on 127.0.0.1, None for any free one. `forwards` are further (address, port) pairs of
    the machine that are to be reached from 127.0.0.1, each on a free port: see Vm.forwarded.
    """

    name: str
    addresses: tuple[str, ...]
    suite: Suite = "bookworm"
    memory_mb: int = 1024
    cpus: int = 2
    ssh_port: int | None = None
    forwards: tuple[tuple[str, int], ...] = ()


# The preflight asks for 2.15 times maxmemory and 512 MiB: 1062 MiB and 1613 MiB. Memory that a machine never
# touched costs nothing here. One CPU each: five emulated machines have to share two cores, and boot sooner so.
STAGING = (
    VmSpec("staging-gateway", ("172.28.2.1",), ssh_port=22201, memory_mb=1536, cpus=1),
    VmSpec("staging-socket", ("172.28.2.2",), ssh_port=22202, memory_mb=2048, cpus=1),
    VmSpec("staging-shared", ("172.28.2.3",), ssh_port=22203, memory_mb=2048, cpus=1),
    VmSpec("staging-compliance", ("172.28.2.4",), ssh_port=22204, memory_mb=1536, cpus=1),
    VmSpec("staging-crypto", ("172.28.2.5",), ssh_port=22205, memory_mb=1536, cpus=1),
)
ONEBOX = VmSpec("redis-1", tuple(address for spec in STAGING for address in spec.addresses), memory_mb=6144)
