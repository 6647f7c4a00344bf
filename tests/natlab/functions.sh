# natrelay
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# Read by natlab: what a lab script may call. HOST is camera, relay or viewer (or any of
# natA, cgnA, internet, natR, cgnB, natB); SIDE is camera or viewer.
# shellcheck shell=bash disable=SC2154,SC2034

# on HOST COMMAND…: runs there, in the foreground.
on ()
{
  local host=$1
  shift
  ip netns exec "$host" "$@"
}

# start HOST LOG COMMAND…: runs there in the background; $STARTED is the process itself, so
# that a signal to it is a signal to the program. All end with the lab.
start ()
{
  local host=$1 log=$2
  shift 2
  ip netns exec "$host" "$@" >"$log" 2>&1 </dev/null &
  STARTED=$!
}

# stop PID [SIGNAL [SECONDS]]: sends the signal and waits for the end, by force at last.
# Gives the program's exit code.
stop ()
{
  local pid=$1 code=0
  kill -"${2:-TERM}" "$pid" 2>/dev/null || true
  ended "$pid" "${3:-10}" || kill -KILL "$pid" 2>/dev/null || true
  wait "$pid" 2>/dev/null || code=$?
  return $code
}

ended ()
{
  wait_for "$2" is_gone "$1"
}

is_gone ()
{
  ! kill -0 "$1" 2>/dev/null
}

# wait_for SECONDS COMMAND…: until it succeeds; fails when the time is over.
wait_for ()
{
  local end=$((SECONDS + $1 + 1))
  shift
  until "$@" 2>/dev/null; do
    [ $SECONDS -lt $end ] || return 1
    sleep 0.05
  done
}

# rebind SIDE [address]: the NAT forgets every UDP mapping, as one that was switched off and
# on; with "address" it also has another outside address afterwards.
rebind ()
{
  local letter=A net=198.51.100 ns outermost
  case $1 in
    camera | a | A) ;;
    viewer | b | B) letter=B net=203.0.113 ;;
    *) die "rebind: camera or viewer" ;;
  esac
  outermost=nat$letter
  [ ! -e "/run/netns/cgn$letter" ] || outermost=cgn$letter
  # Without an address no new mapping can be made, so that the old ones go once and for all.
  [ "${2:-}" != address ] || ip -n "$outermost" address flush dev outside scope global
  for ns in nat$letter cgn$letter; do
    [ ! -e "/run/netns/$ns" ] || on "$ns" conntrack -D -p udp >/dev/null 2>&1 || true
  done
  if [ "${2:-}" = address ]; then
    ip -n "$outermost" address add "$net.$((RANDOM % 100 + 100))/24" dev outside
    ip -n "$outermost" route replace default via "$net.1"
  fi
}

# lose SIDE PERCENT: UDP datagrams lost from now on, both ways, between that side and the
# internet. TCP keeps what it needs, so that only media is tried.
lose ()
{
  local share
  share=$(awk "BEGIN { printf \"%d\", $2 * 100 }")
  on internet nft flush chain inet lab "$1"
  [ "$share" = 0 ] ||
    on internet nft add rule inet lab "$1" meta l4proto udp numgen random mod 10000 "<" "$share" counter drop
}

# lost SIDE: how many datagrams `lose` has taken so far.
lost ()
{
  on internet nft list chain inet lab "$1" | sed -n 's/.*counter packets \([0-9]*\).*/\1/p'
}

# cut_link SIDE, mend_link SIDE: the link to the internet is pulled out, and put back.
cut_link ()
{
  on internet nft flush chain inet lab "$1"
  on internet nft add rule inet lab "$1" drop
}

mend_link ()
{
  on internet nft flush chain inet lab "$1"
}

# block_udp SIDE: no UDP passes between that side and the internet from now on, both ways, and nobody is told;
# mend_link ends it.
block_udp ()
{
  on internet nft flush chain inet lab "$1"
  on internet nft add rule inet lab "$1" meta l4proto udp drop
}

# block_family SIDE 4|6: nothing of that IP version passes between that side and the internet; mend_link ends it.
block_family ()
{
  on internet nft flush chain inet lab "$1"
  on internet nft add rule inet lab "$1" meta nfproto "ipv$2" drop
}

# only_https SIDE: nothing gets out to the relay but TCP to port 443, and nobody is told; mend_link ends it.
only_https ()
{
  block_udp "$1"
  on internet nft add rule inet lab "$1" ip daddr "$RELAY_ADDRESS" tcp dport != 443 drop
}

# close_side SIDE: its NAT lets nothing through any more; what runs on it (a proxy) can still reach the
# internet. $GATEWAY is its inner address.
close_side ()
{
  local ns=natA
  GATEWAY=192.168.1.1
  if [ "$1" = viewer ]; then
    ns=natB GATEWAY=192.168.2.1
  fi
  on "$ns" nft add table inet closed
  on "$ns" nft 'add chain inet closed forward { type filter hook forward priority -2; policy drop; }'
}

# readdress SIDE N: the host itself has another address, that ends with N, and no more the one it had.
readdress ()
{
  local net
  net=$(net_of "$1")
  ip -n "$1" address flush dev eth0 scope global
  ip -n "$1" address add "$net.$2/24" dev eth0
  ip -n "$1" route replace default via "$net.1"
}

# second_way SIDE: the host has another interface, too, eth1 to the same NAT; it is used when eth0 is gone.
second_way ()
{
  local ns=natA net=192.168.3
  [ "$1" = camera ] || ns=natB net=192.168.4
  add_link "$1" eth1 "$net.2/24" "$ns" inside2 "$net.1/24"
  ip -n "$1" route add default via "$net.1" metric 200
}

# unplug SIDE, plug SIDE: the host's interface goes, and comes back with what it had.
unplug ()
{
  ip -n "$1" link set eth0 down
}

plug ()
{
  ip -n "$1" link set eth0 up
  ip -n "$1" route replace default via "$(net_of "$1").1"
}

net_of ()
{
  if [ "$1" = camera ]; then echo 192.168.1; else echo 192.168.2; fi
}

# change_link SIDE SETTINGS: the link of --camera-link or --viewer-link is so from now on, and as before
# in what SETTINGS does not name. Besides natlab's settings: outage=MS, when nothing passes, and
# stall=MS, when all waits.
change_link ()
{
  "$link_program" set "$(link_socket "$1")" "$2"
}

# link_count SIDE DIRECTION.WHAT: one of the link's counters (`natlab-link counters` names them).
link_count ()
{
  "$link_program" counters "$(link_socket "$1")" | sed -n "s/^$2=//p"
}

link_socket ()
{
  if [ "$1" = camera ]; then
    echo /run/linkA.socket
  else
    echo /run/linkB.socket
  fi
}

# mappings SIDE: "address:port" as the internet sees them, one a line, of live UDP flows.
mappings ()
{
  local ns=natA
  [ "$1" = camera ] || ns=natB
  [ ! -e "/run/netns/cgn${ns#nat}" ] || ns=cgn${ns#nat}
  on "$ns" conntrack -L -p udp 2>/dev/null |
    sed -n 's/.* src=[^ ]* dst=\([^ ]*\) sport=[^ ]* dport=\([^ ]*\).*/\1:\2/p' | sort -u
}

# capture SIDE FILE: every packet between that side's outermost NAT and the internet, as pcap,
# until capture_end SIDE. Returns when packets are being kept.
capture ()
{
  local device=toA
  [ "$1" = camera ] || device=toB
  start internet "$2.log" /usr/bin/python3 "$here/capture.py" "$device" "$2"
  eval "capture_$1=$STARTED"
  wait_for 10 grep -q ready "$2.log"
}

capture_end ()
{
  local name=capture_$1
  stop "${!name}" || true
}
