#!/bin/sh
# One look at the append-only log of a role, changing nothing (tasks/steps/log.py): prints what redis-check-aof says.
# A job: runs as redis in a sandbox (as-role.sh), for it opens the files to write also where it only reads.
: "${manifest?}" "${patience?}"
timeout --signal=KILL "$patience" redis-check-aof "$manifest" </dev/null 2>&1 | tail -c 4096
