"""Bring every host of the inventory to its desired state, and prove that it is there.

pyinfra INVENTORY deploy.py          shows what differs, asks, does it
pyinfra -y INVENTORY deploy.py       does it
pyinfra --dry INVENTORY deploy.py    only shows it
"""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parent))  # from another directory the run is refused, in words

from pyinfra.context import ctx_host, ctx_state

from tasks.prove.proof import prove
from tasks.steps.addresses import own_addresses
from tasks.steps.adopt import begin_adoptions
from tasks.steps.backups import begin_backups
from tasks.steps.install import install_redis
from tasks.steps.instances import converge_instances
from tasks.steps.kernel import tune_kernel
from tasks.steps.lock import hold_host
from tasks.steps.metrics import serve_metrics
from tasks.steps.move import before_the_move, discard_copies, move_roles
from tasks.steps.passwords import keep_passwords, keep_rotation
from tasks.steps.preflight import check_fitness
from tasks.steps.replay import keep_replayable
from tasks.steps.retire import before_the_end, end_leftovers, say_what_is_adopted
from tasks.steps.rotation import record_begin, rotation_of
from tasks.steps.standby import bring_into_sync

seen = check_fitness(ctx_state.get(), ctx_host.get())
if seen is not None:
    rotation = rotation_of(ctx_state.get(), seen)
    hold_host(ctx_state.get(), seen, anyway=bool(rotation))
    first = before_the_end(seen)
    now = before_the_move(ctx_state.get(), first)
    keep_replayable(first)
    begin_adoptions(first)
    keep_passwords(ctx_state.get())
    record_begin(first, rotation)
    keep_rotation(ctx_state.get(), seen.desired.name)
    install_redis(first)
    tune_kernel(first)
    discard_copies(ctx_state.get(), first)
    own_addresses(now)
    converge_instances(ctx_state.get(), now, rotation)
    move_roles(ctx_state.get(), first)
    bring_into_sync(first)
    serve_metrics(first)
    begin_backups(first)
    say_what_is_adopted(first)
    prove(name="Prove the tier", seen=first)
    end_leftovers(ctx_state.get(), seen)
