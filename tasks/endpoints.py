"""Say where every role answers and who may use it; no passwords, no contact with a role beyond the SSH login.

pyinfra [-y] INVENTORY tasks/endpoints.py
"""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1]))  # from another directory the run is refused, in words

from pyinfra.context import ctx_state

from tasks.run.ending import Finished
from tasks.run.endpoint_report import print_endpoints

raise Finished(print_endpoints(ctx_state.get()))
