"""All five roles on one host, which has all five addresses."""

_host = [("redis-1", {"ssh_hostname": "172.28.2.1", "ssh_user": "root"})]

redis_gateway = _host
redis_socket = _host
redis_shared = _host
redis_compliance = _host
redis_crypto = _host
