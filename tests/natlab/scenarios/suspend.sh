# natrelay
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# suspend.sh SIDE SECONDS: the program of that side is suspended for so long, as a laptop that sleeps: it sends nothing, and the relay
# forgets where it was. When it wakes, the film goes on.
# shellcheck shell=bash disable=SC2154,SC2034
. "$here/scenarios/common.sh"
relay_options=()
side=$1 seconds=$2
pid=${side}1_pid

begin_film --seconds $((seconds + 30))
wait_for 10 has_units camera1 120
kill -STOP "${!pid}"
sleep "$seconds"
kill -CONT "${!pid}"
check_flows "it wakes, and the film goes on"
sleep 2
check_flows "and on"
kill -INT "$camera1_pid"
check "the camera ends when asked to" ended "$camera1_pid" 20
stop "$viewer1_pid" INT
for each in camera1 viewer1; do
  check "$each said no error" bash -c "! grep '^error' '$work/$each.log'"
  echo "# $each negotiated $(stat_of "$each" attempts) times"
done
done_testing
