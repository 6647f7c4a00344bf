# natrelay
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# race.sh SYSTEM LATENCY FILM RESULT: the film over natrelay, srt (each leg with LATENCY) or udp, through the same
# NATs and links. What came of it goes into RESULT, as race.py's JSON with the links' counters added.
# shellcheck shell=bash disable=SC2154,SC2034
. "$here/scenarios/common.sh"
system=$1 latency=$2 film=$3 result=$4
rival=$build/tests/natlab/rival

relay_for_natrelay ()
{
  start_relay || return 1
  to_send="natrelay://$RELAY_FOR_CAMERA/film?tls-fingerprint=$fingerprint&auth-token=$publish_token"
  to_receive="natrelay://$RELAY_FOR_VIEWER/film?tls-fingerprint=$fingerprint&auth-token=$subscribe_token"
}

# Does it listen on both ports?
srt_listens ()
{
  [ "$(on relay ss -Hlun 'sport = 7001 or sport = 7002' | wc -l)" = 2 ]
}

relay_for_srt ()
{
  to_send=srt://$RELAY_ADDRESS:7001?mode=caller
  to_receive=srt://$RELAY_ADDRESS:7002?mode=caller
  start relay "$work/relay.log" srt-live-transmit "srt://:7001?mode=listener&latency=$latency" \
      "srt://:7002?mode=listener&latency=$latency"
  wait_for 10 srt_listens
}

relay_for_udp ()
{
  to_send=$RELAY_ADDRESS:7001
  to_receive=$RELAY_ADDRESS:7003
  start relay "$work/relay.log" /usr/bin/python3 "$here/udp.py" forward 7001=7003 7002=7004
  wait_for 10 grep -q ready "$work/relay.log"
}

compare_race ()
{
  local side direction
  /usr/bin/python3 "$here/race.py" "$work/camera1.lines" "$work/viewer1.lines" >"$work/json" || return 1
  {
    cat "$work/json"
    for side in camera:up viewer:down; do
      direction=${side#*:}
      echo "{\"link\": \"${side%:*}\", \"packets\": $(link_count "${side%:*}" "$direction.arrived")," \
          "\"lost\": $(link_count "${side%:*}" "$direction.lost")," \
          "\"bursts\": $(link_count "${side%:*}" "$direction.bursts")," \
          "\"late\": $(link_count "${side%:*}" "$direction.late")}"
    done
  } | tee "$result"
}

need "the relay works" "relay_for_$system"
start viewer "$work/viewer1.log" "$rival" receive --over "$system" --to "$to_receive" --latency "$latency" \
    --lines "$work/viewer1.lines"
viewer1_pid=$STARTED
start camera "$work/camera1.log" "$rival" send --over "$system" --to "$to_send" --latency "$latency" \
    --film "$film" --lines "$work/camera1.lines" --seconds "$film_seconds"
camera1_pid=$STARTED
need "picture and sound arrive" wait_for 60 flows viewer1
# What joining costs is not the question here.
sleep 2
kill -USR1 "$camera1_pid"
need "the film begins" wait_for 5 said camera1 counting
check "the camera ends by itself" ended "$camera1_pid" $((film_seconds + 20))
stop "$viewer1_pid" INT
check "something of it came" compare_race
done_testing
