# natrelay
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# path-size.sh told|hole: the camera's way takes packets of 1300 bytes, and larger ones come back as "fragmentation needed", or
# vanish. It is said on the bus, with the number, and encoded input is cut to fit from then on.
# shellcheck shell=bash disable=SC2154,SC2034
. "$here/scenarios/common.sh"
relay_options=()
how=$1

# Packets of more than 1300 bytes, or parts of such, that came from the camera.
too_long ()
{
  on internet nft list chain inet lab camera | sed -n 's/.*counter packets \([0-9]*\).*/\1/p' | awk '{ n += $1 } END { print n + 0 }'
}

narrow ()
{
  if [ "$how" = told ]; then
    expected=1272 # 1300 less 28 of headers
    # A router says so seldom; this one always.
    on natA sysctl -qw net.ipv4.icmp_ratelimit=0 || return 1
    ip -n natA link set outside mtu 1300 &&
      on internet nft add rule inet lab camera meta l4proto udp ip frag-off "&" 0x3fff != 0 counter
  else
    expected=1232 # the next of the sizes that are tried
    on internet nft add rule inet lab camera meta l4proto udp meta length ">" 1300 counter drop
  fi
}

need "the relay starts" start_relay
need "the camera's way is narrow" narrow
start_viewer viewer1
need "the viewer reaches the relay" wait_for 60 said viewer1 connected
NATRELAY_AUTH_TOKEN=$publish_token start camera "$work/camera1.log" gst-launch-1.0 -m videotestsrc is-live=true pattern=snow ! \
    video/x-raw,width=640,height=360,framerate=30/1 ! x264enc tune=zerolatency speed-preset=ultrafast key-int-max=30 bitrate=2000 ! \
    natrelaysink mtu=1400 uri="natrelay://$RELAY_FOR_CAMERA/film?tls-fingerprint=$fingerprint"
camera1_pid=$STARTED
check "it is said on the bus, with the number" wait_for 60 grep -q "natrelay-path-size.*mtu=(uint)$expected;" "$work/camera1.log"
# What was on its way, or is sent again, is over when none came for a second.
for ((i = 0; i < 20; i++)); do
  before=$(too_long)
  sleep 1
  [ "$(too_long)" != "$before" ] || break
done
units=$(wc -l <"$work/viewer1.lines")
# Where the way is told, the very first that is too long may be the last.
[ "$how" = told ] || check "packets were too long until then" test "$before" -ge 1
check "the film goes on" wait_for 20 has_units viewer1 $((units + 60))
check "no packet is too long any more" test "$(too_long)" = "$before"
check "a person is told once" test "$(grep -c "WARNING.*in one piece" "$work/camera1.log")" = 1
stop "$camera1_pid" INT
stop "$viewer1_pid" INT
done_testing
