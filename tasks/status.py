"""Say what the tier does right now: what is not well first, then a row a role. Changes nothing, ever.

pyinfra [-y] INVENTORY tasks/status.py     exit 0 when every host was looked at and is as it should be
  --data status_report=FILE   the same as JSON
  --data status_metrics=FILE  as a Prometheus textfile
  --data role=ROLE            one role whole: clients, slow commands, latency, who was refused, big keys, last deploy
  --data history=true         what deploys have changed on each host, who made them, and what came of it
  --data watch=SECONDS        again and again, until Ctrl-C
"""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1]))  # from another directory the run is refused, in words

from pyinfra.context import ctx_state

from tasks.run.ending import Finished
from tasks.run.status_report import show_status

raise Finished(show_status(ctx_state.get()))
