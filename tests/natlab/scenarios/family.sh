# natrelay
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# family.sh SIDE: that side has IPv4 and IPv6 (its NAT is of the kind dual), and the relay's name leads to both. In the middle of
# a film the family in use breaks without a word, and later the other one: each time it is left, in the same session.
# shellcheck shell=bash disable=SC2154,SC2034
. "$here/scenarios/common.sh"
relay_options=()
side=$1
name=${side}1

# The family by which that side is connected.
family_of ()
{
  case $(sed -n 's/^connected .*mapped=\([^ ]*\) .*/\1/p' "$work/$1.log") in
    \[*) echo 6 ;;
    *) echo 4 ;;
  esac
}

begin_film --seconds 12
wait_for 10 has_units camera1 120
first=$(family_of "$name")
second=$((10 - first))
block_family "$side" "$first"
check_flows "IPv$first breaks, and the film goes on by IPv$second"
mend_link "$side"
block_family "$side" "$second"
check_flows "IPv$second breaks, and the film goes on by IPv$first"
mend_link "$side"
end_film 40
# Two times two seconds of the sound's 50 units a second.
check "four seconds are missing at most" compare camera1 viewer1 --lost 200 --tail 20
check "it went by UDP in the end" test "$(stat_of "$name" transport)" = udp
for each in camera1 viewer1; do
  check "$each did not negotiate again" test "$(stat_of "$each" attempts)" = 1
done
done_testing
