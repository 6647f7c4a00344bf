# natrelay
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# proxy.sh SIDE: the only way out of that side is an HTTP proxy that asks for a user and a password. Whoever
# gives them has the film, whoever does not is told.
# shellcheck shell=bash disable=SC2154,SC2034
. "$here/scenarios/common.sh"
. "$here/scenarios/proxies.sh"
relay_options=()
side=$1
name=${side}1

close_side "$side"
need "the proxy starts" start_proxy "$side"
proxy="http://watcher:se%2ecret-word@$GATEWAY:3128"
camera_options=() viewer_options=()
[ "$side" = camera ] && camera_options=(--properties "proxy=$proxy")
[ "$side" = viewer ] && viewer_options=(--properties "proxy=$proxy")
begin_film "${camera_options[@]}"
join_late "${viewer_options[@]}"
end_film $((film_seconds + 30))
check "every access unit arrives, whole, once and in order" compare camera1 viewer1
check "it went by WebSocket" test "$(stat_of "$name" transport)" = websocket
check "the password is in no log" bash -c "! grep -qE 'se(%2e|[.])cret' '$work/camera1.log' '$work/viewer1.log'"
echo "# $side: connected after $(time_of "$name" connected) ms"

if [ "$side" = camera ]; then
  start_camera stranger --properties "proxy=http://watcher:guess@$GATEWAY:3128"
else
  start_viewer stranger --properties "proxy=http://watcher:guess@$GATEWAY:3128"
fi
check "with another password it is an error" wait_for 30 said stranger "(warning|error):.*USER:PASSWORD.*"
done_testing
