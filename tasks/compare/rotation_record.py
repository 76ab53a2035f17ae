"""What a host's record says of users with more than one password. Pure.

`USER SECONDS-SINCE-THE-EPOCH`, since when; `USER begun` while that is not so yet, of a deploy that has not ended: what
it brings may be in the server and not yet in the ACL file, whatever the secrets file says by then. A line each, in a
file of root's, with neither passwords nor hashes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from tasks.catalogue.requested import USER_NAME
from tasks.desired.host import Instance
from tasks.desired.paths import rotation_file
from tasks.observed.state import Observed

BEGUN = "begun"
LINE = re.compile(rf"({USER_NAME}) ([0-9]{{1,11}}|{BEGUN})")


def recorded(instance: Instance, observed: Observed) -> dict[str, int]:
    """User → since when it has more than one password, in seconds since the epoch, as its host says."""
    return {user: int(said) for user, said in _lines(instance, observed) if said != BEGUN}


def begun(instance: Instance, observed: Observed) -> frozenset[str]:
    """Users to whom a deploy was about to give another password, and that has not ended since."""
    return frozenset(user for user, said in _lines(instance, observed) if said == BEGUN)


def _lines(instance: Instance, observed: Observed) -> Iterator[tuple[str, str]]:
    file = observed.files.get(rotation_file(instance.name))
    lines = file.content.splitlines() if file is not None and file.kind == "file" else []
    yield from ((found[1], found[2]) for found in map(LINE.fullmatch, lines) if found)
