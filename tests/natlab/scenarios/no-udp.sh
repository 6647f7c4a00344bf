# natrelay
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# no-udp.sh SIDE…: no UDP gets through on these sides (their NAT is of the kind no-udp): the film goes over a
# WebSocket, and every access unit of it arrives all the same. A side that has UDP uses it.
# shellcheck shell=bash disable=SC2154
. "$here/scenarios/common.sh"
relay_options=()

begin_film
join_late
end_film $((film_seconds + 30))
check "every access unit arrives, whole, once and in order" compare camera1 viewer1
for side in camera viewer; do
  expected=udp
  [[ " $* " != *" $side "* ]] || expected=websocket
  check "the $side's packets go by $expected" test "$(stat_of "${side}1" transport)" = $expected
  check "the $side negotiated once" test "$(stat_of "${side}1" attempts)" = 1
  echo "# $side: connected after $(time_of "${side}1" connected) ms"
done
done_testing
