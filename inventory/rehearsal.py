"""Throw-away machines of your own for a rehearsal: put in their addresses. Needs nothing of tests/.

Each carries one role at an address of its own, and loses its data in a rehearsal: never name a host that is kept.
"""

_own = {"ssh_user": "root", "redis_rehearsal": True}


def _machine(role, address):
    overrides = {role: {"address": address}}  # in the place of production's, with everything else of the catalogue
    return [(f"rehearsal-{role}", {"ssh_hostname": address, "redis_overrides": overrides, **_own})]


redis_gateway = _machine("gateway", "192.0.2.1")
redis_socket = _machine("socket", "192.0.2.2")
redis_shared = _machine("shared", "192.0.2.3")
redis_compliance = _machine("compliance", "192.0.2.4")
redis_crypto = _machine("crypto", "192.0.2.5")
