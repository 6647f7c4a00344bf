# natrelay
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# udp-cut.sh SIDE: in the middle of a film UDP is blocked on that side, without a word; later it is let through
# again. The film goes on by WebSocket, and then by UDP, in the same session.
# shellcheck shell=bash disable=SC2154
. "$here/scenarios/common.sh"
relay_options=()
side=$1
name=${side}1

begin_film --seconds 24
wait_for 30 has_units camera1 120
before=$(wc -l <"$work/viewer1.lines")
block_udp "$side"
check "it moves to a WebSocket" wait_for 20 moved_to "$name" websocket
check "the film goes on by it" wait_for 20 has_units viewer1 $((before + 200))
mend_link "$side"
check "it moves back to UDP" wait_for 20 moved_to "$name" udp
end_film 40
# Three seconds of the sound's 50 units a second, by which it is noticed; nothing more on the way back.
check "at most three seconds are missing" compare camera1 viewer1 --lost 150 --tail 60
check "it ended by UDP" test "$(stat_of "$name" transport)" = udp
for name in camera1 viewer1; do
  check "$name did not negotiate again" test "$(stat_of "$name" attempts)" = 1
done
echo "# longest gap of the picture: $(time_of viewer1 'gap video') ms, of the sound: $(time_of viewer1 'gap audio') ms"
done_testing
