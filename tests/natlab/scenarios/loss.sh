# natrelay
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# loss.sh PERCENT: that much is lost on either side; what is lost is sent again in time.
# shellcheck shell=bash disable=SC2154
. "$here/scenarios/common.sh"
relay_options=()

begin_film
lose camera "$1"
lose viewer "$1"
ended "$camera1_pid" $((film_seconds + 20))
lose_camera=$(lost camera)
lose_viewer=$(lost viewer)
lose camera 0
lose viewer 0
end_film
echo "# lost on the way: $lose_camera at the camera's side, $lose_viewer at the viewer's"
check "datagrams were lost" test $((lose_camera + lose_viewer)) -gt 10
check "every access unit arrives all the same" compare camera1 viewer1
done_testing
