# natrelay
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# Read by the scenarios that use avsync.
# shellcheck shell=bash disable=SC2154,SC2034

# start_sync_camera NAME [OPTION…]: $NAME_pid is its process.
start_sync_camera ()
{
  local name=$1
  shift
  NATRELAY_AUTH_TOKEN=$publish_token start camera "$work/$name.log" "$build/tests/natlab/avsync" send \
      --uri "natrelay://$RELAY_FOR_CAMERA/film?tls-fingerprint=$fingerprint" "$@"
  printf -v "${name}_pid" %s "$STARTED"
}

# start_sync_viewer NAME HOST RELAY [OPTION…]: what it sees is in NAME.seen. The process is $NAME_pid, NAME up
# to a hyphen.
start_sync_viewer ()
{
  local name=$1 host=$2 relay=$3
  shift 3
  NATRELAY_AUTH_TOKEN=$subscribe_token start "$host" "$work/$name.seen" "$build/tests/natlab/avsync" receive \
      --uri "natrelay://$relay/film?tls-fingerprint=$fingerprint" "$@"
  printf -v "${name%%-*}_pid" %s "$STARTED"
}

# flashes NAME N [FROM]: so many, of frame FROM or later, and as many beeps.
flashes ()
{
  awk -v n="$2" -v from="${3:-0}" '$1 == "flash" && $2 >= from { seen++ }
      $1 == "beep" && (seen || !from) { heard++ }
      END { exit !(seen >= n && heard >= n) }' "$work/$1.seen"
}

lips ()
{
  /usr/bin/python3 "$here/sync.py" lips "$work/$1.seen" "${@:2}"
}

same ()
{
  /usr/bin/python3 "$here/sync.py" same "$work/$1.seen" "$work/$2.seen" "${@:3}"
}
