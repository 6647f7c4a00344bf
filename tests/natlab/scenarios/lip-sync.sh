# natrelay
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# A flash and a beep that left together are seen and heard together, also after the camera's program has
# died and is back. With NATs and links that delay unevenly.
# shellcheck shell=bash disable=SC2154,SC2034
. "$here/scenarios/common.sh"
. "$here/scenarios/sync-common.sh"

need "the relay starts" start_relay
start_sync_viewer viewer1 viewer "$RELAY_FOR_VIEWER" --properties "latency=300"
start_sync_camera camera1
need "the viewer sees flashes" wait_for 30 flashes viewer1 6
kill -KILL "$camera1_pid"
wait "$camera1_pid" 2>/dev/null
check "sound and picture are together" lips viewer1 --settled 60
start_sync_camera camera2 --first 9000
need "the viewer sees the second film's flashes" wait_for 40 flashes viewer1 6 9000
stop "$camera2_pid" INT
stop "$viewer1_pid" INT
check "sound and picture are together after the restart" lips viewer1 --settled 60 --from 9000
done_testing
