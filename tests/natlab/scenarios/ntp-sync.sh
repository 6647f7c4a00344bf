# natrelay
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# Two receivers far from each other, one behind the camera's link and one behind the viewer's, show the
# same frame at the same time with ntp-sync=true, and sound with it. Without it they do not, which shows
# that the links are really different.
# shellcheck shell=bash disable=SC2154,SC2034
. "$here/scenarios/common.sh"
. "$here/scenarios/sync-common.sh"

need "the relay starts" start_relay
start_sync_camera camera1
for ntp in true false; do
  # Two seconds do not count, and a difference is soon seen.
  enough=$([ $ntp = true ] && echo 6 || echo 3)
  start_sync_viewer "near-$ntp" camera "$RELAY_FOR_CAMERA" --properties "latency=400 ntp-sync=$ntp"
  # They are not to have begun at once, either.
  need "the first sees flashes (ntp-sync=$ntp)" wait_for 30 flashes "near-$ntp" 1
  start_sync_viewer "far-$ntp" viewer "$RELAY_FOR_VIEWER" --properties "latency=400 ntp-sync=$ntp"
  need "the second, too (ntp-sync=$ntp)" wait_for 30 flashes "far-$ntp" "$enough"
  stop "$near_pid" INT
  stop "$far_pid" INT
done
check "both show the same frame within 40 ms" same near-true far-true --settled 60
check "sound and picture are together at the first" lips near-true --settled 60
check "sound and picture are together at the second" lips far-true --settled 60
check "without ntp-sync the links' difference shows" eval '! same near-false far-false'
stop "$camera1_pid" INT
done_testing
