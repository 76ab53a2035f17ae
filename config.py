"""Settings of pyinfra for this repository, and the check of all data before any host is contacted."""

from pyinfra import config
from pyinfra.context import ctx_state

from tasks.run.entry import guard

config.REQUIRE_PYINFRA_VERSION = "~=3.10.0"

guard(ctx_state.get())
