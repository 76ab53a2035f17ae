#!/bin/sh
# What watches over a restore outlasts the host (tasks/steps/watch.py): a unit that each boot starts, until the restore has ended.
: "${record?}" "${unit_file?}" "${wanted?}" "${text?}" "${job?}"
# Each whole or not at all; on a full disk there is no watch, and no restore begins.
umask 077
{ printf '%s\n' "$job" >"$record.new" && sync "$record.new" && mv -fT "$record.new" "$record"; } || { rm -f "$record.new"; exit 1; }
umask 022
{ printf '%s\n' "$text" >"$unit_file.new" && mv -fT "$unit_file.new" "$unit_file"; } || { rm -f "$unit_file.new"; exit 1; }
mkdir -p "${wanted%/*}" && ln -sfn "$unit_file" "$wanted" && sync
