#!/bin/sh
# systemd makes no further try to start a unit that keeps failing (tasks/steps/instances.py): it would begin with half of
# the new files, or in the middle of what is done to its data. One that has come up since the look is left alone; where
# its data was about to be worked on (`data`, yes or no), that is not known any more to be nobody's.
: "${unit?}" "${data?}"
if ! systemctl is-active --quiet -- "$unit"; then
  exec timeout 60 systemctl stop -- "$unit"
fi
echo "$unit has come up by itself since it was looked at"
if [ "$data" = yes ]; then
  echo 'nothing has been done to it, expected it stopped for what is to be done to its data: deploy again'
  exit 1
fi
