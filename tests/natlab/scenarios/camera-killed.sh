# natrelay
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# camera-killed.sh SECONDS: a camera's program dies without a word and is back after so long,
# within the relay's ten seconds of grace or not. The viewer sees the new film, and never ends.
# shellcheck shell=bash disable=SC2154
. "$here/scenarios/common.sh"
relay_options=()

new_film_flows ()
{
  # The viewer has a unit of the second camera's: its lines hold what both say.
  grep -qxFf "$work/camera2.lines" "$work/viewer1.lines"
}
begin_film --seconds 60
wait_for 30 has_units camera1 100
kill -KILL "$camera1_pid"
wait "$camera1_pid" 2>/dev/null
sleep "$1"
start_camera camera2 --seconds 5
need "the camera that is back reaches the relay" wait_for 60 said camera2 connected
kill -USR1 "$camera2_pid"
check "the viewer sees it" wait_for 30 new_film_flows
check "the second film ends by itself" ended "$camera2_pid" 30
wait_for 20 caught_up camera2 viewer1
sleep 0.3
check "the viewer is still there" kill -0 "$viewer1_pid"
stop "$viewer1_pid" INT
check "the second film's end is whole" compare camera2 viewer1 --lost 150 --tail 60
check "the viewer did not negotiate again" test "$(stat_of viewer1 attempts)" = 1
done_testing
