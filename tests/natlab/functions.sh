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
