"""pyinfra_cli patches the standard library for gevent when it is imported: first of all, then, not halfway."""

import pyinfra_cli  # noqa: F401 I001

from hypothesis import HealthCheck, settings

# The same examples every time, and no clock: a busy machine is no reason to fail.
settings.register_profile(
    "unit",
    derandomize=True,
    deadline=None,
    max_examples=50,
    suppress_health_check=[HealthCheck.too_slow],
    database=None,
)
settings.load_profile("unit")
