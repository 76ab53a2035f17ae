#!/bin/sh
# A log that its server writes no longer has another name; one that was put aside before makes room
# (tasks/steps/instances.py). A job: runs as redis in a sandbox (as-role.sh).
: "${log?}" "${old_log?}"
rm -rf "$old_log" && mv -T "$log" "$old_log"
