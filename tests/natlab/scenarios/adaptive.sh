# natrelay
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# An encoder that follows what the link to the relay can take: 3 Mbit/s, then 800 kbit/s, then 3 again.
# shellcheck shell=bash disable=SC2154
. "$here/scenarios/common.sh"

need "the relay starts" start_relay
NATRELAY_AUTH_TOKEN=$publish_token start camera "$work/camera1.log" "$build/examples/adaptive" --highest 6000 \
    --uri "natrelay://$RELAY_FOR_CAMERA/film?tls-fingerprint=$fingerprint"
camera_pid=$STARTED

# estimated: the last, in kbit/s; between LOWEST HIGHEST: it is.
estimated ()
{
  sed -n 's/^bitrate=.*estimated=//p' "$work/camera1.log" | tail -1
}

between ()
{
  local now
  now=$(estimated)
  echo "$now kbit/s"
  [ -n "$now" ] && [ "$now" -ge "$1" ] && [ "$now" -le "$2" ]
}

need "the camera reaches the relay" wait_for 60 said camera1 "connected:.*"
check "what 3 Mbit/s can take is found" wait_for 25 between 1800 3400
change_link camera up.rate=800
check "a link that shrinks is noticed" wait_for 10 between 100 900
sleep 3
lost=$(link_count camera up.full)
sleep 5
check "and then nothing runs over" test "$(link_count camera up.full)" = "$lost"
check "what is left of it is used" between 350 900
change_link camera up.rate=3000
check "a link that grows is, too" wait_for 30 between 1800 3400
stop "$camera_pid" INT
done_testing
