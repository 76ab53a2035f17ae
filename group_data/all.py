"""What holds for every host; a group or the inventory overrides it by the same name."""

# Kernel values, live and in /etc/sysctl.d/60-redis.conf. Containers report them instead of setting them.
redis_sysctl = {
    "vm.overcommit_memory": 1,  # fork for a rewrite must not fail (redis.io docs, admin.md)
    "net.core.somaxconn": 4096,  # the ceiling of tcp_backlog in roles.yaml (kernel docs, net.rst)
}

# From where on a role that is as desired is not well all the same (tasks/compare/health.py). What grows for as long as
# a server runs is judged per hour since its start and only warns: an old burst fades, what goes on stays.
redis_health = {
    "memory_warning": 80,  # % of maxmemory where nothing can be evicted: days are left to raise it, not minutes
    "memory_critical": 99,  # % as above: one large value or some clients more, and every write is refused
    "without_ttl_warning": 50,  # % of the keys of a role that may evict only keys with a TTL, once it is that full
    "evicted_keys_warning": 10,  # % of its keys an hour: within ten hours nothing is left of what was stored
    "clients_warning": 80,  # % of maxclients
    "clients_critical": 95,  # % of maxclients; when it is reached, this tool is turned away like everybody [seen]
    "client_memory_warning": 80,  # % of maxmemory_clients; beyond it the greediest client is cut off [clients]
    "refused_writes_warning": 1,  # an hour, for want of memory or disk: no service expects that
    "refused_clients_warning": 1,  # an hour, at maxclients
    "evicted_clients_warning": 1,  # an hour, cut off for their buffers
    "refused_logins_warning": 60,  # an hour: verify makes two itself, a service with a wrong password thousands
    "delayed_fsyncs_warning": 60,  # an hour: once a minute a write waited seconds for the disk [persist]
    "crashes_critical": 30,  # starts by systemd itself, one in two seconds; a late address at boot costs some, too
    "crash_minutes_critical": 10,  # since the last of them: it may go on; also after a boot with a late address
    "crash_minutes_warning": 10080,  # since the last of them: a week is enough for somebody to read the journal
    "host_memory_warning": 10,  # % of RAM available
    "host_memory_critical": 3,  # % of RAM available: the kernel is about to kill something
    "standby_mib_warning": 16,  # MiB that a standby lacks: as much is lost when its primary's host is
    "standby_seconds_warning": 10,  # seconds since it was last heard of, which is once a second
}

# The exact Debian version of redis-server and redis-tools, as "5:7.0.15-1~deb12u10"; None takes what is installed
# or, on a new host, what the distribution offers. An upgrade is a decision: nothing else changes the version.
redis_version = None
