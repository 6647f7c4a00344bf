# natrelay
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# nat64.sh SIDE: that side has only IPv6 (its NAT is of the kind ipv6), and its URI names the relay by an IPv4 address. The
# network translates; its name server says how when it is asked for ipv4only.arpa. (Instead of a translator the relay
# itself has the translated address: what the client does is the same.)
# shellcheck shell=bash disable=SC2154,SC2034,SC2016
. "$here/scenarios/common.sh"
relay_options=()
side=$1
name=${side}1
translated=64:ff9b::c000:202 # 192.0.2.2
other=viewer gateway=2001:db8:a::1 nat=natA
[ "$side" = camera ] || other=camera gateway=2001:db8:b::1 nat=natB

translate ()
{
  ip -n relay address add "$translated/128" dev eth0
  ip -n internet route add 64:ff9b::/96 via "$RELAY_ADDRESS6"
  echo "nameserver $gateway" >"$work/resolv.conf"
  mount -n --bind "$work/resolv.conf" /etc/resolv.conf
  start "$nat" "$work/dns.log" /usr/bin/python3 -B "$here/dns64.py" "$gateway" 64:ff9b::
  wait_for 10 said dns ready
}

if [ "$side" = camera ]; then RELAY_FOR_CAMERA=$RELAY_ADDRESS; else RELAY_FOR_VIEWER=$RELAY_ADDRESS; fi
check "IPv4 leads nowhere from there" eval '! on "$side" ip route get "$RELAY_ADDRESS" 2>/dev/null'
need "the network translates" translate
begin_film
end_film $((film_seconds + 30))
check "every access unit arrives, whole, once and in order" compare camera1 viewer1
check "the name server was asked how" grep -q '^ipv4only.arpa 28' "$work/dns.log"
check "it went by UDP" test "$(stat_of "$name" transport)" = udp
check "to the translated address" grep -q "^stats .*$translated" "$work/$name.log"
check "the $other by IPv4" test "$(stat_of "${other}1" relay-address)" = "$RELAY_ADDRESS:8443"
done_testing
