# natrelay
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# inspection.sh SIDE: the only way out of that side is a proxy that reads what is in TLS ("virus shield"). Whoever
# trusts its authority has the film; whoever knows the relay's fingerprint is told who stands between.
# shellcheck shell=bash disable=SC2154,SC2034
. "$here/scenarios/common.sh"
. "$here/scenarios/proxies.sh"
relay_options=()
side=$1
name=${side}1

close_side "$side"
need "the inspecting proxy starts" start_inspector "$side"
printf -v "${side}_query" 'tls-ca-file=%s' "$work/inspector-ca.pem"
camera_options=() viewer_options=()
[ "$side" = camera ] && camera_options=(--properties "proxy=http://$GATEWAY:3128")
[ "$side" = viewer ] && viewer_options=(--properties "proxy=http://$GATEWAY:3128")
begin_film "${camera_options[@]}"
join_late "${viewer_options[@]}"
end_film $((film_seconds + 30))
check "every access unit arrives, whole, once and in order" compare camera1 viewer1
check "it went by WebSocket" test "$(stat_of "$name" transport)" = websocket
check "the proxy has read along" grep -q "GET /v1/websocket" "$work/inspector.log"
echo "# $side: connected after $(time_of "$name" connected) ms"

unset "${side}_query"
if [ "$side" = camera ]; then
  start_camera pinned "${camera_options[@]}"
else
  start_viewer pinned "${viewer_options[@]}"
fi
check "whoever knows the relay's fingerprint is told" wait_for 30 said pinned "error:.*interception.*"
check "and once" test "$(grep -c '^error:' "$work/pinned.log")" = 1
done_testing
