# natrelay
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# chaos.sh SECONDS SEED [NAME,…]: a film, a camera and a viewer behind their NATs, and for so long one thing after another happens to
# them, now and then two at once. Says after how many milliseconds both tracks flowed again, and what everybody holds.
# shellcheck shell=bash disable=SC2154,SC2034,SC2317
. "$here/scenarios/common.sh"
. "$here/scenarios/proxies.sh"
seconds=$1 only=${3:-}
RANDOM=$2
LIMIT=40 # seconds, until it has to flow again
export MALLOC_ARENA_MAX=1 # what each new thread's would keep for itself looks like a leak

# Name and text of each. Those with "side" happen to the camera or the viewer.
events='
port          side  NAT takes another port
address       side  NAT takes another port and address
own-address   side  has another address
outage        side  link is out
udp-cut       side  UDP is blocked for a while
loss          side  link loses a tenth for a while
suspend       side  process is suspended
unplug        side  interface goes and comes back
kill          relay is killed and started again
term          relay is told to end and started again
forget        relay is killed and started with an empty state directory
join-udp      somebody joins by UDP
join-no-udp   somebody joins by WebSocket alone
join-proxy    somebody joins through a proxy, with a password
join-inspect  somebody joins through a proxy that inspects TLS
'

# random FROM TO: sets random.
random ()
{
  random=$(($1 + RANDOM % ($2 - $1 + 1)))
}

run_relay ()
{
  start relay "$work/relay.log" "$build/ext/natserver/natrelay-server" --state-dir "$work/state" --open=anyone \
      --certificate "$work/cert.pem" --private-key "$work/key.pem"
  relay_pid=$STARTED
  wait_for 15 said relay ready
}

first_relay ()
{
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 30 -subj /CN=relay \
      -addext "subjectAltName=IP:$RELAY_ADDRESS" -keyout "$work/key.pem" -out "$work/cert.pem" 2>/dev/null || return 1
  run_relay || return 1
  publish_token='' subscribe_token=''
  fingerprint=$(sed -n 's/^tls-fingerprint=//p' "$work/relay.log")
  [ -n "$fingerprint" ]
}

# Both proxies stand on the viewer's NAT. They are a way out besides others.
start_proxies ()
{
  GATEWAY=192.168.2.1
  start_proxy viewer || return 1
  start natB "$work/inspector.log" /usr/bin/python3 -B "$here/inspector.py" "$GATEWAY" 3129 "$work" "$RELAY_ADDRESS"
  wait_for 10 said inspector ready
}

# ---- Events: when they return, all is as it should be again but for the programs. -------------------------------

pid_of ()
{
  if [ "$1" = camera ]; then echo "$camera1_pid"; else echo "$viewer1_pid"; fi
}

# for_a_while SECONDS SIDE: the film is to go on meanwhile, too.
for_a_while ()
{
  awaits_flow "$text: meanwhile"
  sleep "$1"
  mend_link "$2"
}

do_outage () { random 500 9000; change_link "$1" "outage=$random"; sleep "$(awk "BEGIN { print $random / 1000 }")"; }
do_udp-cut () { block_udp "$1"; random 3 15; for_a_while "$random" "$1"; }
do_loss () { lose "$1" 10; random 2 8; for_a_while "$random" "$1"; }

do_suspend ()
{
  random 1 30
  [ $((RANDOM % 5)) = 0 ] || random=$((random / 4 + 1))
  kill -STOP "$(pid_of "$1")"
  sleep "$random"
  kill -CONT "$(pid_of "$1")"
}

do_kill () { kill -KILL "$relay_pid"; wait "$relay_pid" 2>/dev/null; run_relay; }
do_term () { stop "$relay_pid" TERM; run_relay; }
do_forget () { kill -KILL "$relay_pid"; wait "$relay_pid" 2>/dev/null; rm -rf "$work/state"; run_relay; }

# newcomer QUERY PROPERTIES: comes, sees, goes.
newcomer ()
{
  local viewer_query=$1 code=0
  rm -f "$work/newcomer.log" # the shell that starts it may empty it later than we look
  start_viewer newcomer --properties "$2"
  local pid=$STARTED
  wait_for $LIMIT flows newcomer || code=1
  echo "#          it saw the picture after $(time_of newcomer 'flowing video') ms"
  stop "$pid" INT
  [ $code = 0 ] || sed 's/^/# /' "$work/newcomer.log"
  return $code
}

do_join-udp () { newcomer "tls-fingerprint=$fingerprint" "transport=udp"; }
do_join-no-udp () { newcomer "tls-fingerprint=$fingerprint" "transport=websocket"; }
do_join-proxy ()
{
  newcomer "tls-fingerprint=$fingerprint" "transport=websocket proxy=http://watcher:se.cret-word@$GATEWAY:3128"
}
do_join-inspect () { newcomer "tls-ca-file=$work/inspector-ca.pem" "transport=websocket proxy=http://$GATEWAY:3129"; }

happen ()
{
  case $1 in
    port) rebind "$2" ;;
    address) rebind "$2" address ;;
    own-address) random 50 99; readdress "$2" "$random" ;;
    unplug) random 1 5; unplug "$2"; sleep "$random"; plug "$2" ;;
    *) "do_$1" "$2" ;;
  esac
}

# ---- What came of it --------------------------------------------------------------------------------------------

alive ()
{
  kill -0 "$camera1_pid" && kill -0 "$viewer1_pid" && kill -0 "$relay_pid"
}

# awaits_flow TEXT: prints how long it takes until something comes that is sent from now on; counts what was never.
awaits_flow ()
{
  local begin=${EPOCHREALTIME/[.,]/} end=$((SECONDS + LIMIT))
  mark camera1
  until flows_since_mark camera1 viewer1; do
    if [ $SECONDS -ge $end ] || ! alive 2>/dev/null; then
      printf '# %5d s  %-66s never\n' $((SECONDS - start)) "$1"
      never=$((never + 1))
      return 1
    fi
    sleep 0.02
  done
  printf '# %5d s  %-66s %5d ms\n' $((SECONDS - start)) "$1" $(((${EPOCHREALTIME/[.,]/} - begin) / 1000))
}

# pick: sets name, side (empty where there is none) and text.
pick ()
{
  local line
  random 1 "$(wc -l <"$work/events")"
  line=$(sed -n "${random}p" "$work/events")
  read -r name side text <<<"$line"
  if [ "$side" = side ]; then
    side=camera
    [ $((RANDOM % 2)) = 0 ] || side=viewer
    text="$side: $text"
  else
    text="$side $text"
    side=''
  fi
}

# Descriptors, threads and kB of a process.
holds ()
{
  echo "$(find "/proc/$1/fd" -mindepth 1 | wc -l)" "$(sed -n 's/^Threads:\s*//p' "/proc/$1/status")" \
      "$(sed -n 's/^VmRSS:\s*\([0-9]*\).*/\1/p' "/proc/$1/status")"
}

all_hold ()
{
  echo "$(holds "$relay_pid") $(holds "$camera1_pid") $(holds "$viewer1_pid")"
}

# A relay that was started anew holds what a new one does, and what its rings and its history have been used for; whoever
# lived through it all, what they did in the beginning.
no_growth ()
{
  local now who kb=(12288 3072 3072)
  read -ra now <<<"$1"
  for who in 0 1 2; do
    [ "${now[who * 3]}" -le $((${early[who * 3]} + 6)) ] && [ "${now[who * 3 + 1]}" -le $((${early[who * 3 + 1]} + 3)) ] &&
      [ "${now[who * 3 + 2]}" -le $((${early[who * 3 + 2]} + kb[who])) ] || return 1
  done
}

tell_holds ()
{
  # shellcheck disable=SC2086
  printf '# %5d s  descriptors, threads, kB: relay %d %d %d, camera %d %d %d, viewer %d %d %d\n' $((SECONDS - start)) $1
}

one_event ()
{
  local first
  pick
  [ $((RANDOM % 5)) != 0 ] || {
    first=$text
    happen "$name" "$side" || troubles=$((troubles + 1))
    pick
    text="$first, and $text"
  }
  happen "$name" "$side" || troubles=$((troubles + 1))
  awaits_flow "$text"
}

film_seconds=$((seconds + 3600))
grep . <<<"$events" >"$work/events"
if [ -n "$only" ]; then
  grep -E "^(${only//,/|}) " <<<"$events" >"$work/events"
fi
need "there are events" test -s "$work/events"
need "the relay starts" first_relay
need "the proxies start" start_proxies
need "processes can be looked at" test "$(cat "/proc/$relay_pid/comm")" = natrelay-server
start_viewer viewer1
need "the viewer reaches the relay" wait_for 60 said viewer1 connected
start_camera camera1
need "the film flows" wait_for 60 flows viewer1
kill -USR1 "$camera1_pid"
need "the film begins" wait_for 20 said camera1 counting

start=$SECONDS never=0 troubles=0 count=0 early=()
while [ $((SECONDS - start)) -lt "$seconds" ] && alive 2>/dev/null && [ $never -lt 3 ]; do
  one_event
  count=$((count + 1))
  random 500 4000
  sleep "$(awk "BEGIN { print $random / 1000 }")"
  # The heap finds its size first.
  if [ ${#early[@]} = 0 ] && { [ $count -ge 30 ] || [ $((SECONDS - start)) -ge $((seconds / 3)) ]; }; then
    sleep 4
    read -ra early <<<"$(all_hold)"
    tell_holds "${early[*]}"
  elif [ $((count % 20)) = 0 ] && alive 2>/dev/null; then
    tell_holds "$(all_hold)"
  fi
done
check "relay, camera and viewer are there after $count events" alive
check "it flowed again each time" test $never = 0
check "and whoever joined saw it" test $troubles = 0
need "it still plays" awaits_flow "in the end"
# A WebSocket that UDP took over from has its grace.
sleep 8
late=$(all_hold)
tell_holds "$late"
check "nobody holds more than in the beginning" no_growth "$late"
stop "$camera1_pid" INT
stop "$viewer1_pid" INT
check "camera and viewer end when asked to" bash -c "grep -qx end '$work/camera1.log' && grep -qx end '$work/viewer1.log'"
check "and said no error" bash -c "! grep '^error' '$work/camera1.log' '$work/viewer1.log'"
done_testing
