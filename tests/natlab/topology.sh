# natrelay
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# Read by natlab: links, addresses and NAT rules. The picture is at the top of natlab.
# shellcheck shell=bash disable=SC2154,SC2034

# Addresses a script may use. The *_outside ones are what the internet sees of a side
# (with a NAT); without one they are the host's own.
CAMERA_ADDRESS=192.168.1.2
VIEWER_ADDRESS=192.168.2.2
CAMERA_OUTSIDE=198.51.100.10
VIEWER_OUTSIDE=203.0.113.10
RELAY_ADDRESS=192.0.2.2     # where clients find it
RELAY_INSIDE=192.0.2.2      # what it is bound to
RELAY_ADDRESS6=2001:db8:c::2
RELAY_FOR_CAMERA=$RELAY_ADDRESS   # as written in a URI
RELAY_FOR_VIEWER=$RELAY_ADDRESS

add_host ()
{
  ip netns add "$1"
  ip -n "$1" link set lo up
  # An address is usable at once; nobody else can have it.
  ip netns exec "$1" sysctl -qw net.ipv6.conf.all.accept_dad=0 net.ipv6.conf.default.accept_dad=0 \
      net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.default.rp_filter=0
}

add_router ()
{
  add_host "$1"
  ip netns exec "$1" sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1
}

# add_cable HOST DEVICE HOST DEVICE
# Offloads are off: what a capture shows is what would be on a cable.
add_cable ()
{
  ip -n "$1" link add "$2" type veth peer name "$4" netns "$3"
  ip netns exec "$1" ethtool -K "$2" tso off gso off gro off tx off >/dev/null
  ip netns exec "$3" ethtool -K "$4" tso off gso off gro off tx off >/dev/null
  ip -n "$1" link set "$2" up
  ip -n "$3" link set "$4" up
}

# add_addresses HOST DEVICE ADDRESS[,ADDRESS6]
add_addresses ()
{
  local address
  for address in ${3//,/ }; do
    ip -n "$1" address add "$address" dev "$2"
  done
}

# add_link HOST DEVICE ADDRESS[,ADDRESS6] HOST DEVICE ADDRESS[,ADDRESS6]
add_link ()
{
  add_cable "$1" "$2" "$4" "$5"
  add_addresses "$1" "$2" "$3"
  add_addresses "$4" "$5" "$6"
}

# add_neighbours HOST DEVICE HOST DEVICE ADDRESS[,ADDRESS6]: the first knows where the second is, so that
# the first packets wait for no question, and do not get lost in the queue of those that do.
add_neighbours ()
{
  local address mac
  mac=$(ip -n "$3" -brief link show dev "$4" | awk '{ print $3 }')
  for address in ${5//,/ }; do
    ip -n "$1" neighbour replace "${address%/*}" lladdr "$mac" dev "$2" nud permanent
  done
}

# add_uplink LETTER, and as add_link: the way of a side to the internet, which is a bad one where
# --camera-link or --viewer-link says so.
add_uplink ()
{
  local letter=$1 settings=$camera_link
  shift
  [ "$letter" = A ] || settings=$viewer_link
  if [ -z "$settings" ]; then
    add_link "$@"
    return
  fi
  add_host "link$letter"
  # What passes is nothing to the link's own host.
  ip netns exec "link$letter" sysctl -qw net.ipv6.conf.all.disable_ipv6=1 net.ipv6.conf.default.disable_ipv6=1
  add_cable "$1" "$2" "link$letter" near
  add_cable "link$letter" far "$4" "$5"
  add_addresses "$1" "$2" "$3"
  add_addresses "$4" "$5" "$6"
  add_neighbours "$1" "$2" "$4" "$5" "$6"
  add_neighbours "$4" "$5" "$1" "$2" "$3"
  # Each link and, in it, each direction has a seed of its own.
  start "link$letter" "/run/link$letter.log" "$link_program" run near far "/run/link$letter.socket" \
      "$((seed * 100 + (16#$letter - 10) * 10))" "$settings"
  wait_for 10 grep -q ready "/run/link$letter.log" || die "no link: $(cat "/run/link$letter.log")"
}

set_udp_timeout ()
{
  [ -n "$udp_timeout" ] || return 0
  ip netns exec "$1" sysctl -qw "net.netfilter.nf_conntrack_udp_timeout=$udp_timeout" \
      "net.netfilter.nf_conntrack_udp_timeout_stream=$udp_timeout"
}

# A home router drops what it did not ask for, silently; so no conntrack entry is left either.
firewall_rules ()
{
  cat <<'RULES'
  chain input {
    type filter hook input priority filter
    iifname "outside" meta l4proto { tcp, udp } ct state new drop
  }
  chain forward {
    type filter hook forward priority filter
    iifname "outside" ct state new drop
  }
RULES
}

# nat NAMESPACE KIND INSIDE-HOST: "outside" and "inside" are its links.
add_nat_rules ()
{
  local ns=$1 kind=$2 host=$3
  {
    echo 'table inet lab {'
    case $kind in
      port-restricted | no-udp)
        echo 'chain post { type nat hook postrouting priority srcnat; oifname "outside" masquerade; }'
        firewall_rules
        ;;
      symmetric)
        echo 'chain post { type nat hook postrouting priority srcnat; oifname "outside" masquerade random,fully-random; }'
        firewall_rules
        ;;
      full-cone)
        # Linux filters by peer. Ports that went out lately are remembered here, and whatever
        # comes to one of them goes in, from whomever.
        cat <<RULES
  set mapped { type inet_service; flags dynamic, timeout; timeout ${udp_timeout:-30}s; }
  chain post { type nat hook postrouting priority srcnat; oifname "outside" masquerade; }
  chain pre { type nat hook prerouting priority dstnat
    iifname "outside" udp dport @mapped dnat ip to $host
  }
  chain forward { type filter hook forward priority filter
    oifname "outside" meta l4proto udp update @mapped { udp sport }
    iifname "outside" ct status dnat accept
    iifname "outside" ct state new drop
  }
RULES
        ;;
      dual)
        echo 'chain post { type nat hook postrouting priority srcnat'
        echo '  meta nfproto ipv4 oifname "outside" masquerade random,fully-random; }'
        firewall_rules
        ;;
      ipv6) firewall_rules ;;
    esac
    if [ "$kind" = no-udp ]; then
      echo 'chain noudp { type filter hook forward priority -1; meta l4proto udp drop; }'
    fi
    echo '}'
  } | ip netns exec "$ns" nft -f -
  set_udp_timeout "$ns"
}

# add_side LETTER HOST KIND PRIVATE-NET OUTSIDE-NET OUTSIDE-ADDRESS PREFIX6
add_side ()
{
  local letter=$1 host=$2 kind=$3 private=$4 public=$5 outside=$6 prefix6=$7
  local nat=nat$letter link=to$letter upper=internet upper_dev=to$letter
  add_router "$nat"
  add_host "$host"
  case $kind in
    none)
      # The host's own address is public; natX is a plain router.
      add_link "$host" eth0 "$private.2/24" "$nat" inside "$private.1/24"
      add_uplink "$letter" "$nat" outside "$outside/24" internet "$link" "$public.1/24"
      ip -n internet route add "$private.0/24" via "$outside"
      ;;
    ipv6)
      add_link "$host" eth0 "$prefix6::2/64" "$nat" inside "$prefix6::1/64"
      add_uplink "$letter" "$nat" outside "$prefix6:ffff::2/112" internet "$link" "$prefix6:ffff::1/112"
      ip -n internet route add "$prefix6::/64" via "$prefix6:ffff::2"
      ip -n "$host" route add default via "$prefix6::1"
      ip -n "$nat" route add default via "$prefix6:ffff::1"
      add_nat_rules "$nat" ipv6 ""
      return
      ;;
    dual)
      add_link "$host" eth0 "$private.2/24,$prefix6::2/64" "$nat" inside "$private.1/24,$prefix6::1/64"
      add_uplink "$letter" "$nat" outside "$outside/24,$prefix6:ffff::2/112" internet "$link" "$public.1/24,$prefix6:ffff::1/112"
      ip -n internet route add "$prefix6::/64" via "$prefix6:ffff::2"
      ip -n "$host" route add default via "$prefix6::1"
      ip -n "$nat" route add default via "$prefix6:ffff::1"
      add_nat_rules "$nat" dual ""
      ;;
    full-cone | port-restricted | symmetric | no-udp)
      add_link "$host" eth0 "$private.2/24" "$nat" inside "$private.1/24"
      add_uplink "$letter" "$nat" outside "$outside/24" internet "$link" "$public.1/24"
      add_nat_rules "$nat" "$kind" "$private.2"
      ;;
    carrier-grade)
      add_router "cgn$letter"
      add_link "$host" eth0 "$private.2/24" "$nat" inside "$private.1/24"
      add_link "$nat" outside 100.64.0.2/24 "cgn$letter" inside 100.64.0.1/24
      add_uplink "$letter" "cgn$letter" outside "$outside/24" internet "$link" "$public.1/24"
      add_nat_rules "$nat" port-restricted "$private.2"
      add_nat_rules "cgn$letter" symmetric 100.64.0.2
      ip -n "cgn$letter" route add default via "$public.1"
      ip -n "$nat" route add default via 100.64.0.1
      ip -n "$host" route add default via "$private.1"
      return
      ;;
    *) die "unknown NAT kind '$kind' (try --help)" ;;
  esac
  ip -n "$host" route add default via "$private.1"
  ip -n "$nat" route add default via "$public.1"
}

# The relay's name, for whoever has two families. Only the lab's programs see this file.
name_relay ()
{
  RELAY_NAME=relay.lab
  [ ! -e /run/hosts ] || return 0
  {
    cat /etc/hosts
    echo "$RELAY_ADDRESS $RELAY_NAME"
    echo "$RELAY_ADDRESS6 $RELAY_NAME"
  } >/run/hosts
  mount -n --bind /run/hosts /etc/hosts
}

add_relay ()
{
  add_host relay
  case $relay_nat in
    none)
      add_link relay eth0 "$RELAY_ADDRESS/24,$RELAY_ADDRESS6/64" internet toR 192.0.2.1/24,2001:db8:c::1/64
      ip -n relay route add default via 192.0.2.1
      ip -n relay -6 route add default via 2001:db8:c::1
      ;;
    one-to-one)
      RELAY_INSIDE=10.0.0.2
      add_router natR
      add_link relay eth0 10.0.0.2/24 natR inside 10.0.0.1/24
      add_link natR outside "$RELAY_ADDRESS/24" internet toR 192.0.2.1/24
      ip -n relay route add default via 10.0.0.1
      ip -n natR route add default via 192.0.2.1
      ip netns exec natR nft -f - <<RULES
table ip lab {
  chain pre { type nat hook prerouting priority dstnat; iifname "outside" ip daddr $RELAY_ADDRESS dnat to 10.0.0.2; }
  chain post { type nat hook postrouting priority srcnat; oifname "outside" ip saddr 10.0.0.2 snat to $RELAY_ADDRESS; }
}
RULES
      set_udp_timeout natR
      ;;
    *) die "unknown --relay-nat '$relay_nat' (none or one-to-one)" ;;
  esac
}

build_lab ()
{
  add_router internet
  ip netns exec internet nft -f - <<'RULES'
table inet lab {
  chain camera { }
  chain viewer { }
  chain forward { type filter hook forward priority filter
    iifname "toA" jump camera
    oifname "toA" jump camera
    iifname "toB" jump viewer
    oifname "toB" jump viewer
  }
}
RULES
  add_side A camera "$camera_nat" 192.168.1 198.51.100 "$CAMERA_OUTSIDE" 2001:db8:a
  add_side B viewer "$viewer_nat" 192.168.2 203.0.113 "$VIEWER_OUTSIDE" 2001:db8:b
  add_relay
  case $camera_nat in
    none) CAMERA_OUTSIDE=$CAMERA_ADDRESS ;;
    dual) name_relay; RELAY_FOR_CAMERA=$RELAY_NAME ;;
    ipv6) CAMERA_ADDRESS=2001:db8:a::2 CAMERA_OUTSIDE=2001:db8:a::2 RELAY_FOR_CAMERA="[$RELAY_ADDRESS6]" ;;
  esac
  case $viewer_nat in
    none) VIEWER_OUTSIDE=$VIEWER_ADDRESS ;;
    dual) name_relay; RELAY_FOR_VIEWER=$RELAY_NAME ;;
    ipv6) VIEWER_ADDRESS=2001:db8:b::2 VIEWER_OUTSIDE=2001:db8:b::2 RELAY_FOR_VIEWER="[$RELAY_ADDRESS6]" ;;
  esac
  # IPv6 neighbours need a moment to find each other; a refused connection says they have.
  case $camera_nat in ipv6 | dual) on camera bash -c ": <>/dev/tcp/$RELAY_ADDRESS6/9" 2>/dev/null || true ;; esac
  case $viewer_nat in ipv6 | dual) on viewer bash -c ": <>/dev/tcp/$RELAY_ADDRESS6/9" 2>/dev/null || true ;; esac
  lose camera "$loss"
  lose viewer "$loss"
}
