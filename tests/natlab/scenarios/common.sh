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
# The list of plugins is kept, where somebody says where: on a busy machine it takes half a minute.
export GST_PLUGIN_PATH=$build/gst/natrelay GST_REGISTRY=${NATLAB_REGISTRY:-$work/registry.bin}
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

# camera_query and viewer_query: what stands behind "?" in the URI, unless it is the relay's fingerprint.
# start_camera NAME [aucheck's OPTION…], start_viewer likewise: lines in NAME.lines, what it says
# in NAME.log. $NAME_pid is the process.
start_camera ()
{
  local name=$1
  shift
  NATRELAY_AUTH_TOKEN=$publish_token start camera "$work/$name.log" "$build/tests/natlab/aucheck" send \
      --uri "natrelay://$RELAY_FOR_CAMERA/film?${camera_query:-tls-fingerprint=$fingerprint}${uri_more:-}" --hashes "$work/$name.lines" \
      --seconds "$film_seconds" "$@"
  printf -v "${name}_pid" %s "$STARTED"
}

start_viewer ()
{
  local name=$1
  shift
  NATRELAY_AUTH_TOKEN=$subscribe_token start viewer "$work/$name.log" "$build/tests/natlab/aucheck" receive \
      --uri "natrelay://$RELAY_FOR_VIEWER/film?${viewer_query:-tls-fingerprint=$fingerprint}${uri_more:-}" --hashes "$work/$name.lines" "$@"
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

# time_of NAME WHAT: the milliseconds of a line "WHAT … after=…ms" or "WHAT …".
time_of ()
{
  sed -nE "s/^$2.*after=([0-9]+)ms.*/\\1/p; s/^$2 ([0-9]+)\$/\\1/p" "$work/$1.log" | tail -1
}

# moved_to NAME TRANSPORT: its last change of transport led there.
moved_to ()
{
  grep '^message natrelay-transport' "$work/$1.log" | tail -n 1 | grep -q "=(string)$2"
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

# mark, flows_since_mark CAMERA VIEWER [TRACKS]: units of these tracks ("video audio") arrived that the camera sent since.
mark ()
{
  marked=$(stat -c %s "$work/$1.lines")
}

flows_since_mark ()
{
  local kind
  tail -c "+$((marked + 1))" "$work/$1.lines" >"$work/since.lines"
  for kind in ${3:-video audio}; do
    tail -n 150 "$work/$2.lines" | grep "^$kind " | grep -qxFf "$work/since.lines" || return 1
  done
}

# check_flows TEXT: it flows again, from now on; says after how long.
check_flows ()
{
  local begin=${EPOCHREALTIME/[.,]/}
  mark camera1
  check "$1" wait_for 20 flows_since_mark camera1 viewer1
  echo "# after $(((${EPOCHREALTIME/[.,]/} - begin) / 1000)) ms"
}

# The usual beginning: a viewer waits, the camera comes, both are there, the count begins. Limits of time end
# a hang; on a busy machine GStreamer alone takes longer than all the rest to look at its plugins. viewer_options are aucheck's;
# patience is how many seconds a bad link may need for a connection.
begin_film ()
{
  local tracks=${tracks:-2} patience=${patience:-60}
  need "the relay starts" start_relay "${relay_options[@]}"
  start_viewer viewer1 "${viewer_options[@]}"
  need "the viewer reaches the relay" wait_for "$patience" said viewer1 connected
  start_camera camera1 "$@"
  need "the camera reaches the relay" wait_for "$patience" said camera1 connected
  need "the viewer sees every track" wait_for "$((patience + 5))" flows viewer1 "$tracks"
  kill -USR1 "$camera1_pid"
  need "the film begins" wait_for 20 said camera1 counting
}

# join_late [aucheck's OPTION…]: while the film is on, one more viewer comes; says how long it took to see it.
join_late ()
{
  start_viewer late "$@"
  check "a viewer that joins sees every track" wait_for 30 flows late
  stop "$STARTED" INT
  echo "# it was connected after $(time_of late connected) ms, and saw the picture after $(time_of late 'flowing video') ms"
}

# And the usual end.
end_film ()
{
  check "the camera ends by itself" ended "$camera1_pid" "${1:-60}"
  wait_for 10 caught_up camera1 viewer1
  sleep 0.3
  stop "$viewer1_pid" INT
  check "the viewer ends when asked to" said viewer1 end
}

compare ()
{
  /usr/bin/python3 "$here/compare.py" "$work/$1.lines" "$work/$2.lines" "${@:3}"
}
