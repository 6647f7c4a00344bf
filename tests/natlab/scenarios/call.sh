# natrelay
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# call.sh BEEPS WITHIN [OPTION…]: two people talk (examples/call.c, with OPTIONs), each behind a NAT of their own. From mouth
# to ear it takes WITHIN ms at most, both ways at once, sound devices included.
# shellcheck shell=bash disable=SC2154
. "$here/scenarios/common.sh"
export GST_PLUGIN_PATH=$build/gst/natrelay:$build/tests/natlab
beeps=$1 within=$2
shift 2

# start_phone HOST RELAY ME PEER [OPTION…]: what it says is in ME.log. $ME_pid is the process.
start_phone ()
{
  local host=$1 relay=$2 me=$3 peer=$4
  shift 4
  NATRELAY_AUTH_TOKEN=$token start "$host" "$work/$me.log" "$build/examples/call" \
      --uri "natrelay://$relay/call?tls-fingerprint=$fingerprint" --me "$me" --peer "$peer" \
      --source labmicrophone --sink labloudspeaker "$@"
  printf -v "${me}_pid" %s "$STARTED"
}

heard ()
{
  [ "$(grep -c '^heard' "$work/$1.log")" -ge "$2" ]
}

ears ()
{
  /usr/bin/python3 "$here/sync.py" ears "$work/$1.log" --settled 2 --within "$within" --least $((beeps - 1))
}

# value NAME KEY: of its statistics.
value ()
{
  sed -n "s/^$2=//p" "$work/$1.log" | tail -1
}

# tell_losses NAME: what came again, and what Opus had to hide; in the whole call.
tell_losses ()
{
  local lost
  lost=$(value "$1" packets-received-lost)
  echo "# $1: $(value "$1" packets-received) packets came, $(value "$1" packets-recovered) of them on request;" \
      "$lost never or too late ($(awk "BEGIN { printf \"%.2f\", 100 * $lost / ($lost + $(value "$1" packets-received)) }") %)"
}

need "the relay starts" start_relay
token=$("$build/ext/natserver/natrelay-token" create --key "$work/state/token.key" --publish 'call/*' --subscribe 'call/*')
need "there is a token for both" test -n "$token"
start_phone camera "$RELAY_FOR_CAMERA" alice bob "$@"
start_phone viewer "$RELAY_FOR_VIEWER" bob alice "$@"
need "alice hears" wait_for 60 heard alice 1
need "bob hears" wait_for 60 heard bob 1
wait_for $((beeps + 20)) heard alice $((beeps + 2)) && wait_for 20 heard bob $((beeps + 2))
stop "$alice_pid" INT
stop "$bob_pid" INT
check "from bob's mouth to alice's ear" ears alice
check "from alice's mouth to bob's ear" ears bob
tell_losses alice
tell_losses bob
done_testing
