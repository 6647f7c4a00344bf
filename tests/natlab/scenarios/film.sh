# natrelay
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# film.sh CODEC: a film goes from camera to viewer, and every access unit of it arrives, whole,
# once and in order. The two views of each mapping are told truly.
# shellcheck shell=bash disable=SC2154
. "$here/scenarios/common.sh"
relay_options=()
tracks=2
[ "$1" != mpegts ] || tracks=1

begin_film --codec "$1"
camera_mapped=$(mappings camera | grep -v ':53$')
viewer_mapped=$(mappings viewer | grep -v ':53$')
end_film $((film_seconds + 30))
check "every access unit arrives, whole, once and in order" compare camera1 viewer1 --tracks $tracks

has_mapping ()
{
  local mapped
  mapped=$(stat_of "$1" mapped-address)
  echo "$1 says $mapped; its NAT has $2"
  [ -n "$mapped" ] && grep -qxF -- "$mapped" <<<"$2"
}
if [ "$camera_nat" = ipv6 ] || [ "$camera_nat" = none ]; then
  camera_mapped=$(stat_of camera1 local-address)
fi
if [ "$viewer_nat" = ipv6 ] || [ "$viewer_nat" = none ]; then
  viewer_mapped=$(stat_of viewer1 local-address)
fi
check "the camera knows its outside address and port" has_mapping camera1 "$camera_mapped"
check "the viewer knows its outside address and port" has_mapping viewer1 "$viewer_mapped"
check "one negotiation was enough for the camera" test "$(stat_of camera1 attempts)" = 1
check "one negotiation was enough for the viewer" test "$(stat_of viewer1 attempts)" = 1
done_testing
