# natrelay
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# instant.sh WIDTH HEIGHT KBPS JOINS [--times]: viewers join a film whose key frames are ten seconds apart, one after another,
# at any age of its last key frame. Nobody can be asked for another: the film is a file. Each sees that key frame at
# once, soon the live picture, and that when a viewer sees it who was there from the start. The sound belongs to it.
# NATLAB_FILM, where it is set, keeps the film for the next time.
# shellcheck shell=bash disable=SC2154,SC2034
. "$here/scenarios/common.sh"
. "$here/scenarios/sync-common.sh"
width=$1 height=$2 kbps=$3 joins=$4
shift 4
film=${NATLAB_FILM:-$work/film.mkv}
seconds=$((15 + joins * 7))
[ "$joins" -gt 3 ] || seconds=40

frames ()
{
  [ "$(grep -c '^frame' "$work/$1.seen")" -ge "$2" ]
}

make_film ()
{
  [ -s "$film" ] || "$build/tests/natlab/avsync" film --film "$film" --seconds "$seconds" \
      --width "$width" --height "$height" --kbps "$kbps"
}

measure_film ()
{
  "$build/tests/natlab/avsync" decode --film "$film" --seconds 4 >"$work/decode.log"
  decoder=$(sed -n 's/^rate //p' "$work/decode.log")
  film_kbps=$(sed -n 's/^kbps //p' "$work/decode.log")
  [ "${decoder:-0}" -gt 30 ] && [ -n "$film_kbps" ]
}

join ()
{
  start_sync_viewer "late$1" viewer "$RELAY_FOR_VIEWER"
  local pid=$STARTED
  # The first of them is the still. After two seconds of the rest nothing changes any more.
  wait_for 40 frames "late$1" 75
  local code=$?
  stop "$pid" INT
  return $code
}

judge ()
{
  /usr/bin/python3 "$here/instant.py" "$work/early.seen" "$work"/late*.seen --decoder "$decoder" \
      --kbps "$film_kbps" "$@"
}

need "there is a film" make_film
need "the relay starts" start_relay
start_sync_viewer early camera "$RELAY_FOR_CAMERA" --packets
# Its first picture is a key frame, too, and not lost.
start_sync_camera camera1 --film "$film" --properties wait-for-connection=true
need "who was there from the start sees it" wait_for 60 frames early 30
need "the decoder is faster than the film" measure_film
for ((i = 1; i <= joins; i++)); do
  need "viewer $i sees it" join "$(printf %02d "$i")"
done
check "each saw a picture at once, and then what is live, in time and with its sound" judge "$@"
stop "$early_pid" INT
stop "$camera1_pid" INT
done_testing
