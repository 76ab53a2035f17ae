#!/bin/sh
# A role's directory is there, with its owner and mode (tasks/steps/operations.py). Root changes only what it stands in,
# where it has seen that it stands there: in its place there may be a link that a role put there.
: "${path?}" "${owner?}" "${group?}" "${mode?}"
[ -e "$path" ] || [ -L "$path" ] || mkdir -m 0700 "$path" || exit 1
cd -P -- "$path" || { echo "$path: cannot be entered, expected a directory"; exit 1; }
[ "$(pwd -P)" = "$path" ] || { echo "$path: leads to $(pwd -P), expected a directory of its own"; exit 1; }
chown "$owner:$group" . && chmod "$mode" .
