"""Staging on one throw-away VM of this machine that carries every role (`python -m tests.lab.vmctl --one up`)."""

from tests.lab.staging_inventory import groups as _groups

globals().update(_groups("one"))
