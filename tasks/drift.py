"""Check for drift: has anything moved since the deploy, in files, kernel or running servers? Changes nothing, ever.

pyinfra [-y] INVENTORY tasks/drift.py        exit 0 when every host was looked at and is in sync
  --data drift_report=FILE    the findings as JSON
  --data drift_page=FILE      as a page to read or print
  --data drift_metrics=FILE   as a Prometheus textfile
"""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1]))  # from another directory the run is refused, in words

from pyinfra.context import ctx_state

from tasks.run.drift_report import check_drift
from tasks.run.ending import Finished

raise Finished(check_drift(ctx_state.get()))
