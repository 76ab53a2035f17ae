"""Verify the tier: nothing differs, and every service meets what the table promises.

pyinfra [-y] INVENTORY tasks/verify.py     exit 0 when all is as it should be; --dry leaves out the clients' part
"""

from pyinfra.context import ctx_state

from tasks.prove.proof import verify_tier
from tasks.run.ending import Finished

raise Finished(verify_tier(ctx_state.get()))
