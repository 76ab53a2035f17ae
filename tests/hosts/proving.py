"""The proof of a copy on a host, as its timer starts it."""

from tests.lab.container import Container

PATIENCE = 600  # seconds: it has what processor and disk everybody else leaves, on a busy machine little


def proves(host: Container, role: str) -> bool:
    """Whether the unit that proves a role's copies there ends well."""
    return host.call(f"systemctl start caas-redis-proof-{role}.service", timeout=PATIENCE).returncode == 0
