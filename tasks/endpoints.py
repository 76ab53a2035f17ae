"""Say where every role answers, who may use it and what they may do, and give each service a file to connect by.

pyinfra [-y] INVENTORY tasks/endpoints.py     no passwords, no contact with a role beyond the SSH login
  --data endpoints_dir=DIR      a file SERVICE.env for each service, with passwords that its servers were seen to take,
                                and endpoints.json without any
  --data endpoints_port=inner   with the inner ports in place of the assigned ones
"""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1]))  # from another directory the run is refused, in words

from pyinfra.context import ctx_state

from tasks.run.ending import Finished
from tasks.run.endpoint_report import print_endpoints

raise Finished(print_endpoints(ctx_state.get()))
