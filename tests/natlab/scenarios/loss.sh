# natrelay
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# loss.sh SHARE LATENCY: a film over two links that lose packets (--camera-link, --viewer-link), both ways,
# so that negotiation and challenge, too, must get through. At least SHARE per cent of the access units of each
# track arrive, whole, once and in order.
# shellcheck shell=bash disable=SC2154,SC2034
. "$here/scenarios/common.sh"
relay_options=()
viewer_options=(--properties "latency=$2")
patience=40

# did_lose SIDE DIRECTION: says what the link did; fails if it lost nothing in the direction of media.
did_lose ()
{
  local direction
  for direction in up down; do
    echo "$direction: $(link_count "$1" $direction.lost) of $(link_count "$1" $direction.arrived) packets lost in" \
        "$(link_count "$1" $direction.bursts) runs; $(link_count "$1" $direction.late) over 1 ms late"
  done
  [ "$(link_count "$1" "$2.lost")" -ge 1 ]
}

begin_film
end_film $((film_seconds + 60))
check "the camera's link did lose" did_lose camera up
check "the viewer's link did lose" did_lose viewer down
check "at least $1 % of the access units arrive, whole, once and in order" compare camera1 viewer1 --share "$1"
check "one negotiation was enough for the camera" test "$(stat_of camera1 attempts)" = 1
check "one negotiation was enough for the viewer" test "$(stat_of viewer1 attempts)" = 1
done_testing
