# natrelay
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# blocked.sh LATENCY FILM RESULT WAY SIDE: from the start that side gets no UDP out, or nothing but by a proxy: how long after its
# program was set to play does the film play at the viewer? That goes into RESULT, as recover.py's JSON. WAY is
# no-udp, proxy (CONNECT, with a password) or inspection (it reads along; its authority is trusted). The other side
# has UDP, and has been there for a while.
# shellcheck shell=bash disable=SC2154
. "$here/scenarios/common.sh"
. "$here/scenarios/proxies.sh"
latency=$1 film=$2 result=$3 way=$4 side=$5
rival=$build/tests/natlab/rival
other=viewer
[ "$side" = camera ] || other=camera

# Sets query: what the URI of that side says instead of the relay's fingerprint.
block ()
{
  query=tls-fingerprint=$fingerprint
  case $way in
    no-udp) block_udp "$side" ;;
    proxy)
      close_side "$side"
      start_proxy "$side" || return 1
      query="$query&proxy=http%3A%2F%2Fwatcher%3Ase.cret-word%40$GATEWAY%3A3128"
      ;;
    inspection)
      close_side "$side"
      start_inspector "$side" "$RELAY_ADDRESS" || return 1
      query="tls-ca-file=$work/inspector-ca.pem&proxy=http%3A%2F%2F$GATEWAY%3A3128"
      ;;
  esac
}

# play SIDE QUERY
play ()
{
  if [ "$1" = camera ]; then
    start camera "$work/camera1.log" "$rival" send --over natrelay --film "$film" --lines "$work/camera1.lines" \
        --to "natrelay://$RELAY_FOR_CAMERA/film?$2&auth-token=$publish_token"
    camera_pid=$STARTED
  else
    start viewer "$work/viewer1.log" "$rival" receive --over natrelay --lines "$work/viewer1.lines" --latency "$latency" \
        --to "natrelay://$RELAY_FOR_VIEWER/film?$2&auth-token=$subscribe_token"
    viewer_pid=$STARTED
  fi
}

# transport_is SIDE NAME: by that its packets went in the end.
transport_is ()
{
  grep -qx "transport $2" "$work/${1}1.log"
}

judge ()
{
  /usr/bin/python3 "$here/recover.py" "$work/camera1.lines" "$work/viewer1.lines" --begin "$begin" \
      --playing "$(sed -n 's/^playing //p' "$work/${side}1.log")" \
      --attempts "$(sed -n 's/^attempts //p' "$work/camera1.log")" "$(sed -n 's/^attempts //p' "$work/viewer1.log")" |
    tee "$result"
}

need "the relay works" start_relay
need "UDP is blocked" block
play "$other" "tls-fingerprint=$fingerprint"
need "the other side reaches the relay" wait_for 60 said "${other}1" connected
# At any age of the film's last key frame.
sleep "1.$((RANDOM % 900 + 100))"
begin=${EPOCHREALTIME/[.,]/}
play "$side" "$query"
# A second and a half of picture and sound: it does not only begin.
need "the film plays" wait_for 20 has_units viewer1 120
stop "$viewer_pid" INT
stop "$camera_pid" INT
need "the packets of the $side went by WebSocket" transport_is "$side" websocket
need "the other's by UDP" transport_is "$other" udp
check "it is told how long that took" judge
done_testing
