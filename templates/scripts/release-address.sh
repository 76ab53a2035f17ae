#!/bin/bash
# A role's address is on its old host no more, and no boot brings it back: it goes along to another one (docs/decisions/0033).
# Its instance may run: it follows another one already, and has ended its clients.
: "${address?}" "${keeper?}"
systemctl disable --quiet --now "$keeper"
while read -r _ device _ found _; do
  [ "$found" != "$address/32" ] || ip address del "$found" dev "$device"
done < <(ip -o -4 address show to "$address/32")
left=$(ip -o -4 address show to "$address/32")
[ -z "$left" ] || { echo "$address is still here as $left, expected what $keeper adds and nothing else"; exit 1; }
