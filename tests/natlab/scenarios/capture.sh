# natrelay
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# capture.sh [SETTING]: somebody between the NATs and the relay keeps all that passes. Nothing of picture or sound can be
# read in it, and everything in it is well-formed. SETTING, as "passphrase=…", is one of both elements.
# shellcheck shell=bash disable=SC2154
. "$here/scenarios/common.sh"
relay_options=()
uri_more=${1:+&$1}

need "packets are kept at the camera's side" capture camera "$work/camera.pcap"
need "packets are kept at the viewer's side" capture viewer "$work/viewer.pcap"
begin_film --plain "$work/plain"
end_film
capture_end camera
capture_end viewer
check "every access unit arrives" compare camera1 viewer1

# What the search can find is proved by a datagram that does carry the film.
open_film ()
{
  capture camera "$work/open.pcap"
  # shellcheck disable=SC2016
  on camera /usr/bin/python3 -c 'import socket, sys
data = open(sys.argv[1], "rb").read(1000)
socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(data, (sys.argv[2], 9))' "$work/plain" "$RELAY_ADDRESS"
  capture_end camera
  ! /usr/bin/python3 "$here/pcap.py" find "$work/open.pcap" "$work/plain"
}
for side in camera viewer; do
  check "nothing of the film can be read at the $side's side" \
      /usr/bin/python3 "$here/pcap.py" find "$work/$side.pcap" "$work/plain"
  check "every STUN message at the $side's side is well-formed" \
      /usr/bin/python3 "$here/pcap.py" stun "$work/$side.pcap"
done
check "the search does find a film that is sent openly" open_film

# A NAT may pick the port of some other protocol, such as 1719 of H.225, as which tshark would read it.
as_rtp=udp.port==1024-65535,rtp

malformed ()
{
  local found
  tshark -o nameres.network_name:FALSE -d "$as_rtp" -r "$work/$1.pcap" \
      -Y '_ws.malformed && udp && !rtcp' -T fields -e frame.number >"$work/malformed" 2>"$work/tshark"
  found=$(wc -l <"$work/malformed")
  echo "tshark calls $found frames malformed: $(head -c 200 "$work/malformed" | tr '\n' ' ')"
  [ "$found" = 0 ]
}
bindings ()
{
  tshark -d "$as_rtp" -r "$work/$1.pcap" -Y 'stun.type == 0x0101' 2>/dev/null | wc -l
}
if command -v tshark >/dev/null; then
  for side in camera viewer; do
    check "tshark finds nothing malformed at the $side's side" malformed $side
    check "tshark reads the Bindings at the $side's side" test "$(bindings $side)" -ge 1
  done
elif [ "${CI:-}" = true ]; then
  check "tshark is there" false
else
  number=$((number + 1))
  echo "ok $number - tshark finds nothing malformed # SKIP tshark is not installed"
fi
done_testing
