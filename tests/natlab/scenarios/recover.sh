# natrelay
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# recover.sh SYSTEM LATENCY FILM RESULT EVENT SIDE: the film over natrelay or srt, and a second after what counts of it began
# something happens to that side (or to the relay, SIDE = relay). What came of it goes into RESULT, as recover.py's JSON.
# EVENT is port, address, outage, own-address, udp-cut, restart or forget.
# shellcheck shell=bash disable=SC2154,SC2034
. "$here/scenarios/common.sh"
system=$1 latency=$2 film=$3 result=$4 event=$5 side=$6
rival=$build/tests/natlab/rival

relay_for_natrelay ()
{
  if [ "$event" = forget ]; then
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 30 -subj /CN=relay \
        -addext "subjectAltName=IP:$RELAY_ADDRESS" -keyout "$work/key.pem" -out "$work/cert.pem" 2>/dev/null || return 1
    relay_options=(--open=anyone --certificate "$work/cert.pem" --private-key "$work/key.pem")
  fi
  run_natrelay || return 1
  to_send="natrelay://$RELAY_FOR_CAMERA/film?tls-fingerprint=$fingerprint&auth-token=$publish_token"
  to_receive="natrelay://$RELAY_FOR_VIEWER/film?tls-fingerprint=$fingerprint&auth-token=$subscribe_token"
}

run_natrelay ()
{
  start_relay "${relay_options[@]}" || [ -n "$fingerprint" ]
}

srt_listens ()
{
  [ "$(on relay ss -Hlun 'sport = 7001 or sport = 7002' | wc -l)" = 2 ]
}

relay_for_srt ()
{
  to_send=srt://$RELAY_ADDRESS:7001?mode=caller
  to_receive=srt://$RELAY_ADDRESS:7002?mode=caller
  run_srt
}

run_srt ()
{
  start relay "$work/relay.log" srt-live-transmit "srt://:7001?mode=listener&latency=$latency" \
      "srt://:7002?mode=listener&latency=$latency"
  relay_pid=$STARTED
  until srt_listens; do sleep 0.005; done
}

# natrelay's "ready" to a hundredth of a second; start_relay looks less often.
await_ready ()
{
  if [ "$system" = natrelay ]; then
    start relay "$work/relay.log" "$build/ext/natserver/natrelay-server" --state-dir "$work/state" "${relay_options[@]}"
    relay_pid=$STARTED
    until grep -q '^ready$' "$work/relay.log"; do sleep 0.005; done
  else
    run_srt
  fi
}

# Sets begin and back: when it happens, and when all is as it should be again but for the programs. Microseconds.
happen ()
{
  begin=${EPOCHREALTIME/[.,]/}
  case $event in
    port) rebind "$side" ;;
    address) rebind "$side" address ;;
    outage) change_link "$side" outage=5000 ;;
    udp-cut) block_udp "$side" ;;
    own-address) readdress "$side" 77 ;;
    restart | forget)
      kill -KILL "$relay_pid"
      wait "$relay_pid" 2>/dev/null
      [ "$event" = restart ] || rm -rf "$work/state"
      await_ready
      ;;
  esac
  back=${EPOCHREALTIME/[.,]/}
  [ "$event" != outage ] || back=$((begin + 5000000))
}

judge ()
{
  /usr/bin/python3 "$here/recover.py" "$work/camera1.lines" "$work/viewer1.lines" --latency "$latency" \
      --begin "$begin" --back "$back" --attempts "$(attempts camera1)" "$(attempts viewer1)" | tee "$result"
}

attempts ()
{
  sed -n 's/^attempts //p' "$work/$1.log" | grep . || echo 0
}

need "the relay works" "relay_for_$system"
start viewer "$work/viewer1.log" "$rival" receive --over "$system" --to "$to_receive" --latency "$latency" \
    --lines "$work/viewer1.lines"
viewer1_pid=$STARTED
start camera "$work/camera1.log" "$rival" send --over "$system" --to "$to_send" --latency "$latency" \
    --film "$film" --lines "$work/camera1.lines" --seconds "$film_seconds"
camera1_pid=$STARTED
need "picture and sound arrive" wait_for 60 flows viewer1
# Not always at the same place between two keepalives, which are four seconds apart.
sleep "$((RANDOM % 4)).$((RANDOM % 500 + 500))"
kill -USR1 "$camera1_pid"
need "the film begins" wait_for 5 said camera1 counting
sleep 1
happen
check "the camera ends by itself" ended "$camera1_pid" 60
stop "$viewer1_pid" INT
[ "$event" != udp-cut ] ||
  need "its packets go by WebSocket" grep -qx "transport websocket" "$work/${side}1.log"
check "it went on" judge
done_testing
