#!/bin/sh
# nft and systemd find nothing wrong with the inner port's rules and unit (tasks/steps/trial.py).
: "${run?}" "${rules?}" "${unit?}" "${unit_text?}"
rm -rf "$run"
trap 'rm -rf "$run"' EXIT
install -d -m 0700 "$run" || exit 1
printf '%s' "$rules" >"$run/rules.nft"
printf '%s' "$unit_text" >"$run/$unit"
nft --check --file "$run/rules.nft" || exit 1
# systemd prints what it does not understand and goes on: every word about this unit is a fault.
said=$(systemd-analyze verify --man=no --recursive-errors=no "$run/$unit" 2>&1) || { echo "$said"; exit 1; }
if echo "$said" | grep -F "$run/$unit:"; then exit 1; fi
