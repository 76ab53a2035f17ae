"""What holds for every host; a group or the inventory overrides it by the same name."""

# Kernel values, live and in /etc/sysctl.d/60-redis.conf. Containers report them instead of setting them.
redis_sysctl = {
    "vm.overcommit_memory": 1,  # fork for a rewrite must not fail (redis.io docs, admin.md)
    "net.core.somaxconn": 4096,  # the ceiling of tcp_backlog in roles.yaml (kernel docs, net.rst)
}

# The exact Debian version of redis-server and redis-tools, as "5:7.0.15-1~deb12u10"; None takes what is installed
# or, on a new host, what the distribution offers. An upgrade is a decision: nothing else changes the version.
redis_version = None
