# natrelay
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# camera-trouble.sh SECONDS SEED: natrelay-camera pushes an IP camera, and for so long camera and network break, in an order and
# for times that SEED tells. After each trouble the viewer must see the camera again, and nobody starts anything by hand.
# shellcheck shell=bash disable=SC2154
. "$here/scenarios/common.sh"
seconds=$1
RANDOM=$2
password=geheim

camera_on ()
{
  start camera "$work/ipcamera.log" "$build/tests/natlab/ipcamera" 8554 $password
  ipcamera=$STARTED
  wait_for 30 said ipcamera ready
}

# The viewer keeps what it gets.
size ()
{
  stat -c %s "$work/film" 2>/dev/null || echo 0
}

grew ()
{
  [ "$(size)" -gt $(($1 + 20000)) ]
}

# sees SECONDS: more of the film comes, within so long.
sees ()
{
  wait_for "$1" grew "$(size)"
}

# between A B: a number of seconds.
between ()
{
  echo $(($1 + RANDOM % ($2 - $1 + 1)))
}

need "the relay starts" start_relay
need "the camera is on" camera_on
printf '[yard]\ncamera=rtsp://owner:%s@127.0.0.1:8554/live\nrelay=natrelay://%s/yard?tls-fingerprint=%s\nauth-token=%s\n' \
  $password "$RELAY_FOR_CAMERA" "$fingerprint" "$publish_token" >"$work/cameras.conf"
start camera "$work/pusher.log" "$build/gst/camera/natrelay-camera" --config "$work/cameras.conf"
pusher=$STARTED
NATRELAY_AUTH_TOKEN=$subscribe_token start viewer "$work/viewer.log" gst-launch-1.0 -q natrelaysrc name=relay \
  uri="natrelay://$RELAY_FOR_VIEWER/yard?tls-fingerprint=$fingerprint" \
  relay.video_0 ! rtph264depay ! h264parse ! filesink buffer-mode=unbuffered location="$work/film"
viewer=$STARTED
need "the viewer sees the camera" sees 60

troubles=(off off silent cut cut loss no-udp nat address)
began=$SECONDS events=0 worst=0
while [ $((SECONDS - began)) -lt "$seconds" ]; do
  events=$((events + 1))
  kind=${troubles[RANDOM % ${#troubles[@]}]}
  long=$(between 1 12)
  case $kind in
    off)
      kill -KILL "$ipcamera"
      wait "$ipcamera" 2>/dev/null
      sleep "$long"
      camera_on
      ;;
    silent) kill -STOP "$ipcamera"; sleep "$long"; kill -CONT "$ipcamera" ;;
    cut) cut_link camera; sleep "$long"; mend_link camera ;;
    loss) lose camera 20; sleep "$long"; lose camera 0 ;;
    no-udp) block_udp camera; sleep "$long"; mend_link camera ;;
    nat) rebind camera ;;
    address) rebind camera address ;;
  esac
  over=$SECONDS
  # natrelay-camera waits half a minute at most between two tries, and a camera needs its time to wake.
  check "$events. $kind for $long s: the viewer sees the camera again" sees 75
  took=$((SECONDS - over))
  [ $took -le $worst ] || worst=$took
  echo "# $((SECONDS - began)) of $seconds s: $kind for $long s, seen again after $took s"
  sleep "$(between 1 4)"
done

echo "# $events troubles in $((SECONDS - began)) s; the longest way back took $worst s"
check "there was trouble enough" test "$events" -ge $((seconds / 30))
check "natrelay-camera was never started again" kill -0 "$pusher"
check "nor was the viewer" kill -0 "$viewer"
check "no password is in its log" test "$(grep -c "$password" "$work/pusher.log")" = 0
stop "$pusher" TERM
check "it ends when it is asked to" test $? = 0
grep -c 'next try' "$work/pusher.log" | sed 's/$/ tries of the camera/; s/^/# /'
stop "$viewer" INT
kill -KILL "$ipcamera" 2>/dev/null
done_testing
