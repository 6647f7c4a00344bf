# natrelay
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# Read by scenarios whose only way out is a proxy on the NAT of a side, which `close_side` has closed.
# shellcheck shell=bash disable=SC2154

# start_proxy SIDE [PORT]: asks for the user "watcher" and the password "se.cret-word", and lets CONNECT to that port (8443) through.
start_proxy ()
{
  cat >"$work/proxy.conf" <<CONF
Port 3128
Listen $GATEWAY
Timeout 600
MaxClients 20
ConnectPort ${2:-8443}
BasicAuth watcher se.cret-word
CONF
  start "$(nat_of "$1")" "$work/proxy.log" tinyproxy -d -c "$work/proxy.conf"
  wait_for 10 proxy_answers "$1"
}

proxy_answers ()
{
  on "$1" bash -c ": <>/dev/tcp/$GATEWAY/3128"
}

# start_inspector SIDE [HOST…]: reads what is in TLS; its authority is $work/inspector-ca.pem. For these hosts it has made its
# certificates by then, as one that has been there for long.
start_inspector ()
{
  start "$(nat_of "$1")" "$work/inspector.log" \
      /usr/bin/python3 -B "$here/inspector.py" "$GATEWAY" 3128 "$work" "${@:2}"
  wait_for 10 said inspector ready
}

nat_of ()
{
  if [ "$1" = camera ]; then echo natA; else echo natB; fi
}
