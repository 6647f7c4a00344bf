# natrelay
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# The relay dies in the middle of a film, and is started again with the same state folder. The
# sessions live on by their tickets.
# shellcheck shell=bash disable=SC2154
. "$here/scenarios/common.sh"
relay_options=()

begin_film --seconds 12
wait_for 10 has_units camera1 60
before=$fingerprint
kill -KILL "$relay_pid"
wait "$relay_pid" 2>/dev/null
sleep 1
check "the relay starts again" start_relay
check "its certificate is the old one" test "$fingerprint" = "$before"
end_film 40
check "the film goes on" compare camera1 viewer1 --lost 200 --tail 60
check "the camera kept its session" test "$(stat_of camera1 attempts)" = 1
check "the viewer kept its session" test "$(stat_of viewer1 attempts)" = 1
done_testing
