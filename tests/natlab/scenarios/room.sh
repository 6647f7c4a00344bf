# natrelay
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# room.sh SECONDS SEED WITHIN STALL: four people meet (examples/meeting), each behind a NAT of its own of the viewer's kind (the first of
# the camera's), and come and go as SEED says for SECONDS, or NATRELAY_MEETING_SECONDS. Whenever two are there, each has the
# other's picture and sound WITHIN ms; none of it stands still for STALL ms; in the end nobody holds more than in the beginning.
# NATLAB_RECORD, where it is set, is a file that keeps what happened (room.py tell).
# shellcheck shell=bash disable=SC2154,SC2034
. "$here/scenarios/common.sh"
seconds=${NATRELAY_MEETING_SECONDS:-$1} seed=$2 within=$3 stall=$4
record=${NATLAB_RECORD:-$work/room.json}
# GStreamer's own list of what outlives its pipeline; and the relay lets its memory be seen.
export NATRELAY_MEETING=$build/examples/meeting GST_TRACERS=leaks NATRELAY_CORE_DUMPS=true

add_side C cid "$viewer_nat" 192.168.5 198.18.5 198.18.5.10 2001:db8:d
add_side D dot "$viewer_nat" 192.168.6 198.18.6 198.18.6.10 2001:db8:e

# place NAME HOST OUTSIDE-ADDRESS: as room.py has it, with a token of its own.
place ()
{
  echo "$1=$2=$3=$("$build/ext/natserver/natrelay-token" create --key "$work/state/token.key" --subject "$1" \
      --publish "room/$1" --subscribe 'room/*')"
}

room ()
{
  /usr/bin/python3 -B "$here/room.py" "$@"
}

play ()
{
  room play --room "natrelay://$RELAY_ADDRESS/room?tls-fingerprint=$fingerprint" --relay "$relay_pid" --seconds "$seconds" \
      --seed "$seed" --out "$record" "$(place ann camera "$CAMERA_OUTSIDE")" "$(place bob viewer "$VIEWER_OUTSIDE")" \
      "$(place cid cid 198.18.5.10)" "$(place dot dot 198.18.6.10)"
}

need "the relay starts" start_relay
check "they meet, come and go, and each time all who are there see each other" play
need "there is a record of it" test -s "$record"
check "each is seen at its own NAT's address" room judge "$record" nats
check "picture and sound of each pair arrive within $within ms" room judge "$record" pairs --within "$within"
check "and never stand still for $stall ms" room judge "$record" stalls --within "$stall"
check "nobody holds more in the end, the relay neither" room judge "$record" holds
check "all ended cleanly, and GStreamer's leak tracer found nothing" room judge "$record" ends
room tell "$record" | sed 's/^/# /'
done_testing
