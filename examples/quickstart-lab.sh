# natrelay
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# Read by tests/natlab/natlab for quickstart: relay, camera and viewer, each in its place.
# shellcheck shell=bash disable=SC2154
build=$PWD/build
out=$PWD/out
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export GST_PLUGIN_PATH=$build/gst/natrelay GST_REGISTRY=$work/registry.bin NO_COLOR=1
picture_frame=150

fail ()
{
  echo "quickstart: $1" >&2
  tail -n 15 "$work"/*.log >&2
  exit 1
}

# value NAME KEY: of what a program said last.
value ()
{
  sed -n "s/^$2=//p" "$work/$1.log" | tail -1
}

says ()
{
  grep -q "^$2" "$work/$1.log"
}

echo "3. The lab"
echo "   camera [$camera_nat] ---- internet ---- [$viewer_nat] viewer, and a relay at $RELAY_ADDRESS"
start relay "$work/relay.log" "$build/ext/natserver/natrelay-server" --state-dir "$work/state"
wait_for 15 says relay ready || fail "the relay did not start"
stream="film?tls-fingerprint=$(value relay tls-fingerprint)"

window=()
[ -z "$QUICKSTART_WINDOW" ] || window=(--window)
rm -f "$out"/sent.png "$out"/seen.png "$out"/quickstart.png
NATRELAY_AUTH_TOKEN=$(value relay subscribe-token) start viewer "$work/viewer.log" \
    "$build/examples/viewer" --uri "natrelay://$RELAY_FOR_VIEWER/$stream" "${window[@]}" \
    --picture "$out/seen.png" --picture-frame $picture_frame
viewer=$STARTED
wait_for 20 says viewer connected || fail "the viewer did not reach the relay"
NATRELAY_AUTH_TOKEN=$(value relay publish-token) start camera "$work/camera.log" \
    "$build/examples/camera" --uri "natrelay://$RELAY_FOR_CAMERA/$stream" --seconds "$QUICKSTART_SECONDS" \
    --picture "$out/sent.png" --picture-frame $picture_frame
camera=$STARTED
wait_for 20 says camera connected || fail "the camera did not reach the relay"
echo "   both are registered at the relay"

echo "4. A film of $QUICKSTART_SECONDS s with sound, H.264 and Opus"
wait_for 20 says viewer picture || fail "no picture came"
# natrelaysrc keeps its last packets for as long as its latency says: let it show them.
began=$SECONDS
while ! is_gone "$camera"; do
  passed=$((SECONDS - began))
  [ $passed -lt $((QUICKSTART_SECONDS + 30)) ] || fail "the camera did not end"
  [ -z "$QUICKSTART_TERMINAL" ] || printf '\r\033[K   %d of %d s' "$passed" "$QUICKSTART_SECONDS" >&3
  sleep 0.3
done
[ -z "$QUICKSTART_TERMINAL" ] || printf '\r\033[K' >&3
sleep 1
stop "$viewer" INT || true
cp "$work/camera.log" "$out/camera.log"
cp "$work/viewer.log" "$out/viewer.log"
if [ ! -s "$out/sent.png" ] || [ ! -s "$out/seen.png" ]; then
  fail "no pictures were kept"
fi

side ()
{
  echo "filesrc location=$1 ! pngdec ! videoconvert ! video/x-raw,format=RGBA ! textoverlay text=\"$2\" \
valignment=bottom halignment=right ypad=40 font-desc=\"Sans 16\" shaded-background=true"
}
eval "gst-launch-1.0 -q compositor name=both sink_1::xpos=648 background=white ! videoconvert ! \
video/x-raw,format=RGB ! pngenc ! filesink location=\"$out/quickstart.png\" \
$(side "$out/sent.png" "sent by the camera") ! both.sink_0 \
$(side "$out/seen.png" "seen by the viewer") ! both.sink_1" >"$work/picture.log" 2>&1 ||
  fail "the pictures could not be put side by side"

# What is sent again, and comes again, is the same packet.
sent=$(($(value camera packets-sent) - $(value camera packets-retransmitted)))
received=$(($(value viewer packets-received) - $(value viewer packets-received-duplicate)))
missing=$(value viewer frames-missing)
cat <<REPORT
   picture    frame $picture_frame as sent and as seen: out/quickstart.png
   frames     $(value camera frames) made, $(value viewer frames) shown, $missing missing between the first and the last shown
   sound      $(value viewer sound-buffers) buffers played
   packets    $sent sent, $received received, $(value viewer packets-received-lost) lost;
              $(value camera packets-sent-dropped) more came while the camera had no connection, and were dropped
   latency    $(value viewer latency-ms-median) ms from birth to screen (median), $(value viewer latency-ms-95th) ms for 95 % of all frames;
              200 ms of that are natrelaysrc's own "latency", its time for repairs

   Both views of each mapping:
              the client's own          as the relay sees it
     camera   $(printf '%-24s' "$(value camera local-address)")  $(value camera mapped-address)
     viewer   $(printf '%-24s' "$(value viewer local-address)")  $(value viewer mapped-address)
REPORT
[ -n "$missing" ] || fail "the viewer saw nothing"
