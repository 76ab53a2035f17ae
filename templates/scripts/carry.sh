#!/bin/bash
# Carries bytes between this command and whoever listens at an address, where sshd forbids tunnels
# (tasks/observed/connection.py). As the login itself, without sudo: anybody on the host may connect there.
#
# bash: a shell that can connect, on every Debian. It ends with either side, with the SSH connection, and in time.
: "${mark?}" "${address?}" "${port?}" "${seconds?}"
export mark address port
# shellcheck disable=SC2016 # for the inner shell
exec timeout -k 1 "$seconds" bash -c '
  if ! { exec 3<>"/dev/tcp/$address/$port"; } 2>/dev/null; then
    echo "$mark connection refused"
    exit
  fi
  echo "$mark open"
  { cat <&3; kill $$; } &
  cat >&3
  kill $! 2>/dev/null'
