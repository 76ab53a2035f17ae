"""Settings of pyinfra for this repository, and the check of all data before any host is contacted."""

from tasks.run.interruption import notice_interruptions

notice_interruptions()  # reading the rest takes a while

from pyinfra import config  # noqa: E402
from pyinfra.context import ctx_state  # noqa: E402

from tasks.run.entry import guard  # noqa: E402

config.REQUIRE_PYINFRA_VERSION = "~=3.10.0"

guard(ctx_state.get())
