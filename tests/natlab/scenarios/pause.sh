# natrelay
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# NATs that forget a silent mapping after five seconds; a film that says nothing for twenty.
# What keeps the mappings is the keepalive alone, and no connection to the relay's HTTPS is made.
# shellcheck shell=bash disable=SC2154
. "$here/scenarios/common.sh"
relay_options=()

need "packets are kept at the camera's side" capture camera "$work/camera.pcap"
need "packets are kept at the viewer's side" capture viewer "$work/viewer.pcap"
begin_film --pause-after 2 --pause "${1:-20}" --seconds 5
before_camera=$(mappings camera)
before_viewer=$(mappings viewer)
need "the film pauses" wait_for 30 said camera1 paused
paused=$(date +%s)
need "the film goes on" wait_for 40 said camera1 resumed
resumed=$(date +%s)
end_film 30
capture_end camera
capture_end viewer
check "every access unit of both halves arrives" compare camera1 viewer1
check "the camera's mapping is the old one" grep -qxF "$(stat_of camera1 mapped-address)" <(echo "$before_camera")
check "the viewer's mapping is the old one" grep -qxF "$(stat_of viewer1 mapped-address)" <(echo "$before_viewer")
check "the camera negotiated once" test "$(stat_of camera1 attempts)" = 1
check "the viewer negotiated once" test "$(stat_of viewer1 attempts)" = 1

connections ()
{
  /usr/bin/python3 "$here/pcap.py" connections "$work/$1.pcap" "${@:2}"
}
for side in camera viewer; do
  check "the $side's HTTPS connection was seen" test "$(connections $side)" -ge 1
  check "the $side made none from the pause on" test "$(connections $side "$paused" "$((resumed + 2))")" = 0
done
done_testing
