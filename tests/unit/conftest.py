"""pyinfra_cli patches the standard library for gevent when it is imported: first of all, then, not halfway."""

import pyinfra_cli  # noqa: F401
