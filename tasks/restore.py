"""Put a copy in the place of a role's data, which is kept beside it. Names both, and asks.

pyinfra [-y] INVENTORY tasks/restore.py --data restore=ROLE    the newest copy; -y does not ask, --dry only names it
  --data at='2026-11-27 13:00'    the newest copy that had ended by 13:00:00 (UTC); or a run, as
                                  tasks/backup.py --data list=true shows it
  --data into=DIRECTORY           beside: into a new directory on the role's host, the role serves on
  --data anyway=true              another role's copy, one that fails its proof, a server that cannot be looked at;
                                  what it passes by is said
"""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1]))  # from another directory the run is refused, in words

from pyinfra.context import ctx_state

from tasks.prove.proof import verify_tier
from tasks.run.ending import Finished
from tasks.steps.restore import is_in_place, restore_role

state = ctx_state.get()
code = restore_role(state)
raise Finished(code or (verify_tier(state) if is_in_place(state) else 0))
