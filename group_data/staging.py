"""What differs on the staging hosts: nothing of the roles, so that the rehearsal is the production deploy."""

redis_rehearsal = True  # these hosts may be killed, filled and rebooted by tasks/rehearse.py
