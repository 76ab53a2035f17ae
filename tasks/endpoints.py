"""Say where every role answers and who may use it; no passwords, no contact with a role beyond the SSH login.

pyinfra [-y] INVENTORY tasks/endpoints.py
"""

from pyinfra.context import ctx_state

from tasks.reports.endpoint_table import print_endpoints
from tasks.run.run import Finished

raise Finished(print_endpoints(ctx_state.get()))
