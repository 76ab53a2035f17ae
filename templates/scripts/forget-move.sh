#!/bin/sh
# Nothing is left of a move of a role, from or to this host, but its data (tasks/steps/retire.py).
# shellcheck disable=SC2086  # a list of plain words
: "${files?}" "${directory?}"
rm -f $files || exit 1
rmdir "$directory" 2>/dev/null
systemctl daemon-reload
