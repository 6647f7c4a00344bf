# natrelay
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# Read by natlab for `selftest`: one function a NAT kind, one line "ok …" or "not ok …" a fact.
# shellcheck shell=bash disable=SC2154
set +e
udp="/usr/bin/python3 $here/udp.py"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

check ()
{
  local text=$1
  shift
  if "$@"; then
    echo "ok $text"
  else
    echo "not ok $text ($*)"
  fi
}

differ ()
{
  [ -n "$1" ] && [ -n "$2" ] && [ "$1" != - ] && [ "$2" != - ] && [ "$1" != "$2" ]
}

# serve HOST ADDRESS PORT…: an echo there.
serve ()
{
  local host=$1
  shift
  # shellcheck disable=SC2086
  start "$host" "$work/echo-$host" $udp echo "$@"
  wait_for 10 grep -q ready "$work/echo-$host"
}

# asked ARGUMENT…: what the camera was told; the lines are in told[0], told[1], …
asked ()
{
  # shellcheck disable=SC2086
  mapfile -t told < <(on camera $udp ask "$@")
}

both_echoes ()
{
  serve relay "$RELAY_INSIDE" 7001 7002
  serve viewer "$VIEWER_ADDRESS" 7001
}

# The camera's outside port as seen, then a stranger (the viewer) writes to it.
stranger_gets_in ()
{
  # shellcheck disable=SC2086
  start camera "$work/pause" $udp ask --port 5001 --pause 2 "$RELAY_ADDRESS" 7001
  wait_for 5 test -s "$work/pause"
  read -r address port < "$work/pause"
  # shellcheck disable=SC2086
  on viewer $udp tell "$address" "$port"
  wait "$STARTED"
  grep -q "late 1" "$work/pause"
}

router ()
{
  both_echoes
  asked --port 5000 "$RELAY_ADDRESS" 7001
  check "the address is the host's own" test "${told[0]}" = "$CAMERA_ADDRESS 5000"
  check "a stranger gets in" stranger_gets_in
}

full_cone ()
{
  both_echoes
  asked --port 5000 "$RELAY_ADDRESS" 7001 "$RELAY_ADDRESS" 7002 "$VIEWER_ADDRESS" 7001
  check "the port is kept" test "${told[0]}" = "$CAMERA_OUTSIDE 5000"
  check "another port of the peer sees the same" test "${told[1]}" = "${told[0]}"
  check "another peer sees the same" test "${told[2]}" = "${told[0]}"
  check "a stranger gets in" stranger_gets_in
  asked --port 5002 --also 7002 "$RELAY_ADDRESS" 7001
  check "another port of the peer gets in" test "${told[1]}" = "also yes"
}

port_restricted ()
{
  both_echoes
  asked --port 5000 "$RELAY_ADDRESS" 7001 "$RELAY_ADDRESS" 7002 "$VIEWER_ADDRESS" 7001
  check "the port is kept" test "${told[0]}" = "$CAMERA_OUTSIDE 5000"
  check "another port of the peer sees the same" test "${told[1]}" = "${told[0]}"
  check "another peer sees the same" test "${told[2]}" = "${told[0]}"
  check "a stranger stays out" eval '! stranger_gets_in'
  asked --port 5002 --also 7002 "$RELAY_ADDRESS" 7001
  check "another port of the peer stays out" test "${told[1]}" = "also no"
}

symmetric ()
{
  both_echoes
  asked --port 5000 "$RELAY_ADDRESS" 7001 "$RELAY_ADDRESS" 7002 "$VIEWER_ADDRESS" 7001 "$RELAY_ADDRESS" 7001
  check "the outside address is the NAT's" test "${told[0]% *}" = "$CAMERA_OUTSIDE"
  check "the port is another one" differ "${told[0]}" "$CAMERA_OUTSIDE 5000"
  check "another port of the peer sees another" differ "${told[0]}" "${told[1]}"
  check "another peer sees another" differ "${told[0]}" "${told[2]}"
  check "and those two differ" differ "${told[1]}" "${told[2]}"
  check "the same peer sees the same again" test "${told[3]}" = "${told[0]}"
  check "mappings lists what the peers saw" test "$(mappings camera | wc -l)" = 3
  check "a stranger stays out" eval '! stranger_gets_in'
  asked --port 5002 --also 7002 "$RELAY_ADDRESS" 7001
  check "another port of the peer stays out" test "${told[1]}" = "also no"
}

carrier_grade ()
{
  both_echoes
  asked --port 5000 "$RELAY_ADDRESS" 7001 "$RELAY_ADDRESS" 7002
  check "the outside address is the provider's" test "${told[0]% *}" = "$CAMERA_OUTSIDE"
  check "another port of the peer sees another" differ "${told[0]}" "${told[1]}"
  check "between the two NATs it is 100.64.0.2" grep -q "src=100.64.0.2 .*sport=5000" \
      <(on cgnA conntrack -L -p udp 2>/dev/null)
  check "a stranger stays out" eval '! stranger_gets_in'
}

ipv6 ()
{
  serve relay :: 7001 7002
  asked --port 5000 "$RELAY_ADDRESS6" 7001
  check "the address is the host's own" test "${told[0]}" = "$CAMERA_ADDRESS 5000"
  asked --port 5002 --also 7002 "$RELAY_ADDRESS6" 7001
  check "the firewall keeps others out" test "${told[1]}" = "also no"
  check "there is no IPv4" test -z "$(on camera ip -4 route)"
}

dual ()
{
  serve relay "$RELAY_INSIDE" 7001
  asked --port 5000 "$RELAY_ADDRESS" 7001
  check "IPv4 goes by the NAT" test "${told[0]% *}" = "$CAMERA_OUTSIDE"
  check "from another port" differ "${told[0]}" "$CAMERA_OUTSIDE 5000"
  serve relay "$RELAY_ADDRESS6" 7002
  asked --port 5000 "$RELAY_ADDRESS6" 7002
  check "IPv6 has the host's own address" test "${told[0]}" = "2001:db8:a::2 5000"
  check "the name leads to both" test "$(on camera getent ahosts "$RELAY_NAME" | cut -d' ' -f1 | sort -u | wc -l)" = 2
  block_family camera 6
  asked --port 5001 "$RELAY_ADDRESS6" 7002
  check "IPv6 can be blocked" test "${told[0]}" = -
  serve relay "$RELAY_INSIDE" 7003
  asked --port 5001 "$RELAY_ADDRESS" 7003
  check "alone" test "${told[0]% *}" = "$CAMERA_OUTSIDE"
}

no_udp ()
{
  both_echoes
  asked --port 5000 "$RELAY_ADDRESS" 7001
  check "no UDP gets out" test "${told[0]}" = -
  # shellcheck disable=SC2016
  start relay "$work/tcp" /usr/bin/python3 -c 'import socket
s = socket.create_server(("0.0.0.0", 7003)); print("ready", flush=True); print(s.accept()[1][0])'
  wait_for 5 grep -q ready "$work/tcp"
  on camera bash -c "exec 3<>/dev/tcp/$RELAY_ADDRESS/7003"
  check "but TCP does" wait_for 5 grep -q "$CAMERA_OUTSIDE" "$work/tcp"
}

other_side ()
{
  serve relay "$RELAY_INSIDE" 7001
  # shellcheck disable=SC2086
  check "the viewer has a NAT of its own kind" test "$VIEWER_OUTSIDE 5000" = \
      "$(on viewer $udp ask --port 5000 "$RELAY_ADDRESS" 7001)"
  asked --port 5000 "$RELAY_ADDRESS" 7001
  check "the camera another" differ "${told[0]}" "$CAMERA_OUTSIDE 5000"
}

one_to_one ()
{
  serve relay 0.0.0.0 7001
  asked --port 5000 "$RELAY_ADDRESS" 7001
  check "the relay is reached at its public address" test "${told[0]% *}" = "$CAMERA_OUTSIDE"
  check "it has a private one only" test "$(on relay ip -4 -br address show eth0 | awk '{ print $3 }')" = 10.0.0.2/24
  serve viewer "$VIEWER_ADDRESS" 7001
  # shellcheck disable=SC2086
  check "what it sends comes from the public one, port kept" test "$RELAY_ADDRESS 5000" = \
      "$(on relay $udp ask --port 5000 "$VIEWER_ADDRESS" 7001)"
}

timeout ()
{
  serve relay "$RELAY_INSIDE" 7001
  asked --port 5000 --times 4 --every 1 "$RELAY_ADDRESS" 7001
  check "a mapping in use lives on" test "${#told[@]} ${told[1]}" = "2 answered 4"
  asked --port 5000 --times 3 --every 4 "$RELAY_ADDRESS" 7001
  check "a silent one is gone after its time" test "${#told[@]} ${told[3]}" = "4 answered 3"
}

timeout_cgn ()
{
  timeout
}

timeout_cone ()
{
  both_echoes
  # shellcheck disable=SC2086
  start camera "$work/pause" $udp ask --port 5001 --pause 5 "$RELAY_ADDRESS" 7001
  wait_for 5 test -s "$work/pause"
  sleep 3.5
  # shellcheck disable=SC2086
  on viewer $udp tell "$CAMERA_OUTSIDE" 5001
  wait "$STARTED"
  check "a silent one lets nobody in" grep -q "late 0" "$work/pause"
}

rebinding ()
{
  serve relay "$RELAY_INSIDE" 7001
  asked --port 5000 "$RELAY_ADDRESS" 7001
  first=${told[0]}
  rebind camera
  asked --port 5000 "$RELAY_ADDRESS" 7001
  check "the port is another after it" differ "$first" "${told[0]}"
  check "the address is the same" test "${first% *}" = "${told[0]% *}"
}

new_address ()
{
  serve relay "$RELAY_INSIDE" 7001
  asked --port 5000 "$RELAY_ADDRESS" 7001
  first=${told[0]}
  rebind camera address
  asked --port 5000 "$RELAY_ADDRESS" 7001
  check "the outside address is another after it" differ "${first% *}" "${told[0]% *}"
}

loss ()
{
  # shellcheck disable=SC2086
  on camera $udp tell "$RELAY_ADDRESS" 7009 1000
  count=$(lost camera)
  check "about a tenth of 1000 is lost" test "$count" -gt 50 -a "$count" -lt 170
  lose camera 0
  serve relay "$RELAY_INSIDE" 7001
  asked --times 40 "$RELAY_ADDRESS" 7001
  check "nothing is lost when it is taken away" test "${told[-1]}" = "answered 40"
}

cutting ()
{
  serve relay "$RELAY_INSIDE" 7001
  cut_link camera
  asked "$RELAY_ADDRESS" 7001
  check "nothing passes a cut link" test "${told[0]}" = -
  mend_link camera
  asked "$RELAY_ADDRESS" 7001
  check "all passes when it is mended" test "${told[0]}" != -
}

capturing ()
{
  serve relay "$RELAY_INSIDE" 7001
  capture camera "$work/camera.pcap"
  asked "$RELAY_ADDRESS" 7001
  capture_end camera
  flows=$(/usr/bin/python3 "$here/pcap.py" udp "$work/camera.pcap" | grep -w 7001)
  check "the request and its answer are in the file" test 2 = "$(wc -l <<<"$flows")"
  check "with the NAT's address" test 2 = "$(grep -cF "$CAMERA_OUTSIDE" <<<"$flows")"
}

# probed COUNT RATE: so many datagrams, so many a second, from the camera to the relay.
# got, lost, … are what linkprobe says.
probed ()
{
  start relay "$work/probe" "$(dirname "$link_program")/linkprobe" receive 7001 "$1"
  wait_for 10 grep -q ready "$work/probe"
  on camera "$(dirname "$link_program")/linkprobe" send "$RELAY_ADDRESS" 7001 "$1" "$2"
  wait "$STARTED"
  echo "# $(tr '\n' ' ' <"$work/probe")"
  eval "$(grep '=' "$work/probe")"
}

# within TEXT VALUE LEAST GREATEST
within ()
{
  check "$1 ($2; $3 to $4)" awk "BEGIN { exit !($2 >= $3 && $2 <= $4) }"
}

link_delay ()
{
  probed 20000 10000
  check "all of 10000 packets a second arrive, and in order" test "$got $overtaken $twice" = "20000 0 0"
  within "none is early (us)" "$least" 20000 20999
  within "the usual one is less than a millisecond late" "$median" 20000 20999
  check "the kernel dropped nothing at the link" test "$(link_count camera up.missed) $(link_count camera up.unsent)" = "0 0"
}

# Bounds are four standard deviations.
link_loss ()
{
  probed 4000 4000
  within "a twentieth is lost" "$lost" 145 255
  check "it is what the link says" test "$lost" = "$(link_count camera up.lost)"
  within "each by itself" "$(awk "BEGIN { print $lost / $bursts }")" 1 1.14
  check "the others are in order" test "$overtaken $twice" = "0 0"
  check "nothing is lost the other way" test "$(link_count camera down.lost)" = 0
}

link_bursts ()
{
  probed 10000 5000
  within "a twentieth is lost" "$lost" 217 783
  check "it is what the link says" test "$lost $bursts" = "$(link_count camera up.lost) $(link_count camera up.bursts)"
  within "five at once, in the mean" "$(awk "BEGIN { print $lost / $bursts }")" 3.2 6.8
}

link_order ()
{
  probed 4000 2000
  check "none is lost" test "$lost" = 0
  within "a fiftieth is held back" "$(link_count camera up.reordered)" 45 115
  within "and overtaken" "$overtaken" "$(($(link_count camera up.reordered) * 9 / 10))" "$(link_count camera up.reordered)"
  within "a fiftieth comes twice" "$twice" 45 115
  check "as many as the link says" test "$twice" = "$(link_count camera up.duplicated)"
}

# 1042 bytes at 2 Mbit/s: 240 a second, and 19 in the queue. That is 79 ms long.
link_rate ()
{
  probed 1000 1000
  within "what fits onto the wire arrives" "$got" 240 290
  # A host has a word of its own to say now and then, such as who has an address: it goes the same way.
  within "the rest found the queue full" "$(link_count camera up.full)" "$lost" "$((lost + 3))"
  within "the last have waited as long as the queue is (us)" "$greatest" 70000 95000
  check "but none has lost its place" test "$overtaken" = 0
}

link_changes ()
{
  serve relay "$RELAY_INSIDE" 7002
  change_link camera outage=60000
  asked "$RELAY_ADDRESS" 7002
  check "nothing passes in an outage" test "${told[0]}" = -
  check "and it is counted" test "$(link_count camera up.out)" -ge 1
  change_link camera outage=0
  asked "$RELAY_ADDRESS" 7002
  check "all passes after it" test "${told[0]}" != -
  change_link camera up.stall=300
  probed 100 1000
  check "in a stall nothing is lost, nor out of order" test "$lost $overtaken" = "0 0"
  within "it waits (us)" "$greatest" 100000 400000
  change_link camera loss=100
  asked "$RELAY_ADDRESS" 7002
  check "a loss of all lets nothing pass" test "${told[0]}" = -
  check "what makes no sense is refused" eval '! change_link camera loss=200 2>/dev/null'
  change_link camera loss=0
  asked --times 5 "$RELAY_ADDRESS" 7002
  check "and changes back" test "${told[-1]}" = "answered 5"
}

link_ipv6 ()
{
  serve relay :: 7002
  asked --port 5000 "$RELAY_ADDRESS6" 7002
  check "IPv6 passes" test "${told[0]}" = "$CAMERA_ADDRESS 5000"
  check "over the link" test "$(link_count camera up.departed)" -ge 1
}

link_sides ()
{
  serve relay "$RELAY_INSIDE" 7002
  asked "$RELAY_ADDRESS" 7002
  check "the side without a link is as before" test "${told[0]% *}" = "$CAMERA_OUTSIDE"
  # shellcheck disable=SC2086
  check "the other goes over its own" test "$VIEWER_ADDRESS 5000" = \
      "$(on viewer $udp ask --port 5000 "$RELAY_ADDRESS" 7002)"
  check "which has counted it" test "$(link_count viewer up.departed) $(link_count viewer down.departed)" = "1 1"
}

"$1"
