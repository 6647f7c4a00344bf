# natrelay
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# interface.sh SIDE: in the middle of a film the interface of that side goes and comes back; then it has another one, too,
# the first goes, and comes back. The session is the same all the time.
# shellcheck shell=bash disable=SC2154,SC2034
. "$here/scenarios/common.sh"
relay_options=()
side=$1
name=${side}1

begin_film --seconds 20
wait_for 10 has_units camera1 120
unplug "$side"
sleep 2
plug "$side"
check_flows "the interface is back, and so is the film"
second_way "$side"
check_flows "another one beside it changes nothing"
unplug "$side"
check_flows "it is gone, and the film goes on by the other one"
sleep 1
plug "$side"
check_flows "it is back, and the film goes on"
end_film 40
check "the end of the film is whole" compare camera1 viewer1 --lost 600 --tail 20
for each in camera1 viewer1; do
  check "$each did not negotiate again" test "$(stat_of "$each" attempts)" = 1
done
echo "# it went by $(stat_of "$name" local-address) in the end"
done_testing
