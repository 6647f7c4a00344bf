# natrelay
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# rebind.sh SIDE [address]: in the middle of a film a NAT forgets its mappings (and takes another
# address). The film goes on over the new mapping, in the same session.
# shellcheck shell=bash disable=SC2154
. "$here/scenarios/common.sh"
relay_options=()
side=$1

mapped_now ()
{
  mappings "$side" | sort
}
moved ()
{
  local now
  now=$(mapped_now)
  [ -n "$now" ] && [ "$now" != "$before" ]
}
begin_film --seconds 8
wait_for 30 has_units camera1 120
before=$(mapped_now)
rebind "$@"
check "the NAT has another mapping" wait_for 20 moved
end_film 30
# The relay's "register again" is heard at once, the silence within a second: that much of the film, and once more what
# a busy machine takes for it, may be lost, and its end is whole.
check "it went on at once" compare camera1 viewer1 --lost 150 --tail 60
name=${side}1
check "the $side told of it" test "$(stat_of "$name" rebinds)" -ge 1
check "the camera did not negotiate again" test "$(stat_of camera1 attempts)" = 1
check "the viewer did not negotiate again" test "$(stat_of viewer1 attempts)" = 1
done_testing
