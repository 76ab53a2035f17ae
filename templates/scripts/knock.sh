#!/bin/bash
# Which ports this host reaches over the network: connects and says nothing (tasks/observed/network.py).
#
# Arguments: ADDRESS:PORT, any number. A line for each that answered: it, and `open` or why it is not. All at once;
# what does not answer in time is ended with all the others that do not (timeout signals its process group).
: "${patience?}"
knock() {
  said=$( (exec 3<>"/dev/tcp/${1%:*}/${1##*:}") 2>&1) && said=open
  echo "$1 ${said##*: }"
}
export -f knock
# shellcheck disable=SC2016 # for the inner shell
timeout "$patience" bash -c 'for where in "$@"; do knock "$where" & done; wait' knock "$@" || [ $? = 124 ]
