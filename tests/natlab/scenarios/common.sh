# natrelay
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# Read by each scenario: a relay, a camera and a viewer in their places, and TAP.
# shellcheck shell=bash disable=SC2154,SC2034
set +e
build=${NATLAB_BUILD:-$(cd "$here/../.." && pwd)/build}
film_seconds=${NATLAB_SECONDS:-6}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export GST_PLUGIN_PATH=$build/gst/natrelay GST_REGISTRY=$work/registry.bin
export NO_COLOR=1 XDG_RUNTIME_DIR=${XDG_RUNTIME_DIR:-$work}
number=0

# check TEXT COMMAND…: a test. Of a failure, all that the programs said is shown.
check ()
{
  local text=$1 code
  shift
  number=$((number + 1))
  "$@" >"$work/said" 2>&1
  code=$?
  if [ $code -eq 0 ]; then
    echo "ok $number - $text"
  else
    echo "not ok $number - $text"
    echo "# $*"
    tail -n 40 "$work"/*.log 2>/dev/null | sed 's/^/# /'
  fi
  sed 's/^/# /' "$work/said"
  return $code
}

# need TEXT COMMAND…: without it the rest makes no sense.
need ()
{
  check "$@" || done_testing
}

done_testing ()
{
  echo "1..$number"
  exit 0
}

# start_relay [OPTION…]: with a state folder that stays, so that it can be started again.
start_relay ()
{
  start relay "$work/relay.log" "$build/ext/natserver/natrelay-server" --state-dir "$work/state" "$@"
  relay_pid=$STARTED
  wait_for 15 said relay ready || return 1
  fingerprint=$(sed -n 's/^tls-fingerprint=//p' "$work/relay.log")
  publish_token=$(sed -n 's/^publish-token=//p' "$work/relay.log")
  subscribe_token=$(sed -n 's/^subscribe-token=//p' "$work/relay.log")
  [ -n "$fingerprint" ] && [ -n "$publish_token" ] && [ -n "$subscribe_token" ]
}

# start_camera NAME [aucheck's OPTION…], start_viewer likewise: lines in NAME.lines, what it says
# in NAME.log. $NAME_pid is the process.
start_camera ()
{
  local name=$1
  shift
  NATRELAY_AUTH_TOKEN=$publish_token start camera "$work/$name.log" "$build/tests/natlab/aucheck" send \
      --uri "natrelay://$RELAY_FOR_CAMERA/film?tls-fingerprint=$fingerprint" --hashes "$work/$name.lines" \
      --seconds "$film_seconds" "$@"
  printf -v "${name}_pid" %s "$STARTED"
}

start_viewer ()
{
  local name=$1
  shift
  NATRELAY_AUTH_TOKEN=$subscribe_token start viewer "$work/$name.log" "$build/tests/natlab/aucheck" receive \
      --uri "natrelay://$RELAY_FOR_VIEWER/film?tls-fingerprint=$fingerprint" --hashes "$work/$name.lines" "$@"
  printf -v "${name}_pid" %s "$STARTED"
}

# said NAME TEXT: a whole line of it, or the beginning of one before a blank.
said ()
{
  grep -qE "^$2( |\$)" "$work/$1.log"
}

# flows NAME [TRACKS]: the first packets of each track have come.
flows ()
{
  [ "$(grep -c '^flowing' "$work/$1.log")" -ge "${2:-2}" ]
}

# stat NAME FIELD: out of the statistics that it printed at its end.
stat_of ()
{
  sed -nE "s/^stats .*[ ,]$2=\([a-z0-9]+\)\"?([^\",;]*).*/\1/p" "$work/$1.log" | tail -1
}

# has_units NAME N: so many units are finished.
has_units ()
{
  [ "$(wc -l <"$work/$1.lines")" -ge "$2" ]
}

# caught_up CAMERA VIEWER: the last unit of each track has begun to arrive, because the one before it
# is finished. (That the last is whole, a program only knows at its end.)
caught_up ()
{
  local kind unit
  for kind in video audio; do
    unit=$(grep "^$kind " "$work/$1.lines" | tail -n 2 | head -n 1)
    if [ -n "$unit" ] && ! grep -qxF "$unit" "$work/$2.lines"; then
      return 1
    fi
  done
}

# The usual beginning: a viewer waits, the camera comes, both are there, the count begins.
begin_film ()
{
  local tracks=${tracks:-2}
  need "the relay starts" start_relay "${relay_options[@]}"
  start_viewer viewer1
  need "the viewer reaches the relay" wait_for 15 said viewer1 connected
  start_camera camera1 "$@"
  need "the camera reaches the relay" wait_for 15 said camera1 connected
  need "the viewer sees every track" wait_for 20 flows viewer1 "$tracks"
  kill -USR1 "$camera1_pid"
  need "the film begins" wait_for 5 said camera1 counting
}

# And the usual end.
end_film ()
{
  check "the camera ends by itself" ended "$camera1_pid" "${1:-60}"
  wait_for 5 caught_up camera1 viewer1
  sleep 0.3
  stop "$viewer1_pid" INT
  check "the viewer ends when asked to" said viewer1 end
}

compare ()
{
  /usr/bin/python3 "$here/compare.py" "$work/$1.lines" "$work/$2.lines" "${@:3}"
}
