#!/bin/sh
# Of which data the copies from here are, and a second by which all of it had ended (tasks/steps/lives.py): nothing where
# that is not noted, or was noted on another machine.
: "${life?}" "${record?}"
from=$life
[ -e "$from" ] || from=$record
[ -e "$from" ] || exit 0
machine=$(sed -n 's/^machine //p' "$from" | head -n 1)
[ -z "$machine" ] || [ "$machine" = "$(sha256sum </etc/machine-id | cut -c1-16)" ] || exit 0
echo "$(sed -n 's/^life //p' "$from" | head -n 1) $(($(date +%s) + 1))"
