#!/bin/sh
# A unit that keeps an address is loaded as on disk, runs, and does so at boot. What it says against that is the answer.
: "${unit?}"
systemctl daemon-reload
systemctl unmask --quiet "$unit"
systemctl enable --quiet "$unit" || exit 1
# One that waits for its next try would be left waiting.
systemctl reset-failed "$unit" 2>/dev/null
began=$(date +%s)
systemctl restart "$unit" && exit 0
journalctl --quiet --output=cat --no-pager --since="@$began" --identifier=bash --identifier=sh --identifier=ip _SYSTEMD_UNIT="$unit" | tail -n 3 >&2
exit 1
