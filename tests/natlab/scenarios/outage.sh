# natrelay
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# outage.sh SIDE: in the middle of a film nothing passes that side's link for five seconds, both ways. The film
# goes on in the same session, by the same mapping, and nobody does anything for it.
# shellcheck shell=bash disable=SC2154,SC2034
. "$here/scenarios/common.sh"
relay_options=()
side=$1

begin_film --seconds 14
wait_for 30 has_units camera1 120
before=$(mappings "$side" | sort)
need "the link is out for five seconds" change_link "$side" outage=5000
end_film 40
check "packets were lost in it" test "$(link_count "$side" up.out)" -ge 1
# 5 s of it, and two more of the sound's 50 units a second until it is noticed that the link is back.
check "the film went on, and its end is whole" compare camera1 viewer1 --lost 350 --tail 20
check "the mapping is the old one" test "$(mappings "$side" | sort)" = "$before"
check "the camera did not negotiate again" test "$(stat_of camera1 attempts)" = 1
check "the viewer did not negotiate again" test "$(stat_of viewer1 attempts)" = 1
done_testing
