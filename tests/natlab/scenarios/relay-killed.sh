# natrelay
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# The relay dies in the middle of a film, and is started again with the same state folder. The
# sessions live on by their tickets.
# shellcheck shell=bash disable=SC2154
. "$here/scenarios/common.sh"
relay_options=()

begin_film --seconds 16
need "the film flows" wait_for 30 has_units camera1 60
before=$fingerprint
kill -KILL "$relay_pid"
killed=$(date +%s%3N)
wait "$relay_pid" 2>/dev/null
sleep 1
check "the relay starts again" start_relay
check "its certificate is the old one" test "$fingerprint" = "$before"
# At most 50 units of a track a second are lost while there is no relay, which takes a busy machine longer to
# start, and for two seconds, five on a busy machine, until both clients have noticed that it is back.
lost=$((50 * ($(date +%s%3N) - killed) / 1000 + 250))
end_film 60
check "the film goes on" compare camera1 viewer1 --lost "$lost" --tail 60
check "the camera kept its session" test "$(stat_of camera1 attempts)" = 1
check "the viewer kept its session" test "$(stat_of viewer1 attempts)" = 1
done_testing
