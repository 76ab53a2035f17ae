"""Staging: the rehearsal's throw-away VMs on this machine, one for each role (`python -m tests.lab.vmctl up`)."""

from tests.lab.staging_inventory import groups as _groups

globals().update(_groups("each"))
