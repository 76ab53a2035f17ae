"""Verify the tier: nothing differs, and every service meets what the table promises.

pyinfra [-y] INVENTORY tasks/verify.py     exit 0 when all is as it should be; --dry leaves out the clients' part
"""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1]))  # from another directory the run is refused, in words

from pyinfra.context import ctx_state

from tasks.prove.proof import verify_tier
from tasks.run.ending import Finished

raise Finished(verify_tier(ctx_state.get()))
