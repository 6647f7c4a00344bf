# natrelay
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# port-443.sh SIDE [proxy]: the relay listens at its usual port and at 443. On that side nothing but TCP to 443 gets
# out, or nothing but a proxy's CONNECT to it. The URI is as ever; the film is there all the same, in time.
# shellcheck shell=bash disable=SC2154,SC2034
. "$here/scenarios/common.sh"
. "$here/scenarios/proxies.sh"
relay_options=(--listen "$RELAY_INSIDE:8443" --listen "$RELAY_INSIDE:443")
side=$1
name=${side}1
camera_options=() viewer_options=()

if [ "${2:-}" = proxy ]; then
  close_side "$side"
  need "the proxy starts" start_proxy "$side" 443
  declare -n side_options=${side}_options
  side_options=(--properties "proxy=http://watcher:se%2ecret-word@$GATEWAY:3128")
else
  only_https "$side"
fi
begin_film "${camera_options[@]}"
join_late "${viewer_options[@]}"
end_film $((film_seconds + 30))
check "every access unit arrives, whole, once and in order" compare camera1 viewer1
check "it went by WebSocket" test "$(stat_of "$name" transport)" = websocket
[ "${2:-}" = proxy ] ||
  check "to port 443" test "$(stat_of "$name" relay-address)" = "$RELAY_ADDRESS:443"
check "it negotiated once" test "$(stat_of "$name" attempts)" = 1
echo "# $side: connected after $(time_of "$name" connected) ms"
done_testing
