"""Rehearse on throw-away hosts: kill, fill and reboot them; the tier must keep its promises all the way.

pyinfra [-y] INVENTORY tasks/rehearse.py     after deploy.py; only where host data says redis_rehearsal = True
"""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1]))  # from another directory the run is refused, in words

from pyinfra.context import ctx_host, ctx_state

from tasks.drills.exercises import drill, fill_servers, kill_servers, reboot
from tasks.prove.proof import prove
from tasks.steps.lock import hold_host
from tasks.steps.operations import call
from tasks.steps.preflight import check_rehearsal

seen = check_rehearsal(ctx_state.get(), ctx_host.get())
if seen is not None:
    hold_host(ctx_state.get(), seen, anyway=True)
    call(name="Kill every server", function=drill, seen=seen, exercise=kill_servers)
    call(name="Fill every server", function=drill, seen=seen, exercise=fill_servers)
    call(name="Reboot the hosts", function=drill, seen=seen, exercise=reboot)
    prove(name="Prove the tier", seen=seen)
