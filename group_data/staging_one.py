"""What differs on the staging host that carries all roles: nothing of the roles, as in staging.py."""

redis_rehearsal = True  # it may be killed, filled and rebooted by tasks/rehearse.py
