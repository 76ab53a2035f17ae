#!/bin/sh
# One look at the append-only log of a role, as redis and changing nothing (tasks/steps/log.py): prints the last of what
# redis-check-aof says. It opens the files to write also where it only reads, so nobody else can run it.
: "${manifest?}" "${patience?}"
setpriv --reuid=redis --regid=redis --init-groups \
  timeout --signal=KILL "$patience" redis-check-aof "$manifest" </dev/null 2>&1 | tail -c 4096
