"""The two hosts of a role take each other's place: its standby serves, and the one that served is the standby.

pyinfra [-y] INVENTORY tasks/handover.py --data handover=ROLE    says what is handed over and asks; -y does not ask,
                                                                 --dry only says it
pyinfra [-y] INVENTORY tasks/handover.py --data promote=ROLE --data old_is_off=true
                                          the standby serves, for the other host is lost: what it lacks is gone (README)
pyinfra [-y] INVENTORY tasks/handover.py --data promote=ROLE --data old_data_is_lost=true
                                          the same where the other host is there, down and without the role's data
"""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1]))  # from another directory the run is refused, in words

from pyinfra.context import ctx_state

from tasks.catalogue.data_names import HANDOVER, PROMOTE
from tasks.prove.proof import verify_anew
from tasks.run.ending import Finished
from tasks.run.options import only_plans
from tasks.steps.promote import promote_role
from tasks.steps.swap import hand_role_over

state = ctx_state.get()
asked = next(iter(state.inventory)).data
if asked.get(PROMOTE) is not None:
    raise Finished(promote_role(state))
code = hand_role_over(state)
role = str(asked.get(HANDOVER))
raise Finished(code if code or only_plans() else verify_anew(state, role))
