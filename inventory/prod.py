"""Production: one host per role, SSH at the address assigned to the role."""

_root = {"ssh_user": "root"}

redis_gateway = [("redis-gateway", {"ssh_hostname": "172.28.2.1", **_root})]
redis_socket = [("redis-socket", {"ssh_hostname": "172.28.2.2", **_root})]
redis_shared = [("redis-shared", {"ssh_hostname": "172.28.2.3", **_root})]
redis_compliance = [("redis-compliance", {"ssh_hostname": "172.28.2.4", **_root})]
redis_crypto = [("redis-crypto", {"ssh_hostname": "172.28.2.5", **_root})]
