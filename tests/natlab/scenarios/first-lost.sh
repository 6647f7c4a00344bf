# natrelay
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# first-lost.sh LATENCY LOSS: the camera's answers to UDP's challenge are lost, so it registers by WebSocket. Then they get
# through, over a network that loses LOSS per cent of all UDP, and in the middle of the film it moves there. Nothing is missing.
# shellcheck shell=bash disable=SC2154,SC2034
. "$here/scenarios/common.sh"
relay_options=()
viewer_options=(--properties "latency=$1")

# A request without a key is shorter.
on internet nft add rule inet lab camera meta l4proto udp udp length ">" 250 drop
begin_film
check "the camera is there by WebSocket" said camera1 "connected .*transport=websocket"
lose camera "$2"
check "it moves to UDP" wait_for 20 moved_to camera1 udp
end_film $((film_seconds + 30))
check "the network did lose" test "$(lost camera)" -ge 1
check "every access unit arrives, whole, once and in order" compare camera1 viewer1
check "it ended by UDP" test "$(stat_of camera1 transport)" = udp
check "one negotiation was enough for the camera" test "$(stat_of camera1 attempts)" = 1
done_testing
