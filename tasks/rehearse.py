"""Rehearse on throw-away hosts: break everything that breaks, and see that the tier keeps what the table promises.

pyinfra [-y] INVENTORY tasks/rehearse.py     after deploy.py; only where host data says redis_rehearsal = True
  --data drills=crash,power          or standard: these drills only (--dry lists them, with what each promises)
  --data rehearsal_page=FILE         what was proved and what was not, as a page to read or print
  --data rehearsal_report=FILE       the same as JSON
  --data from=COMMIT                 deploys that first, to bare machines, then this over it, under writes
  --data like=inventory/prod.py      with that inventory's overrides, version, kernel values (deploy.py needs it, too)
  --data scale=0.25                  every memory size that much smaller (deploy.py needs it, too)
"""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1]))  # from another directory the run is refused, in words

from pyinfra.context import ctx_host, ctx_state

from tasks.drills.rehearsal import rehearse_tier
from tasks.run.ending import Finished
from tasks.steps.preflight import check_rehearsal

check_rehearsal(ctx_state.get(), ctx_host.get())
raise Finished(rehearse_tier(ctx_state.get()))
