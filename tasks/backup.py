"""Make a copy of every role that is backed up, now, or list the copies that there are.

pyinfra [-y] INVENTORY tasks/backup.py     exit 0 when each of them has a new copy off its host
  --data backup=gateway,crypto    of these roles only
  --data list=true                makes none: lists what there is, newest first, by the name that restore.py takes
"""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1]))  # from another directory the run is refused, in words

from pyinfra.context import ctx_state

from tasks.run.ending import Finished
from tasks.steps.copies import copies_of_tier

raise Finished(copies_of_tier(ctx_state.get()))
