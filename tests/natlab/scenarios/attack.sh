# natrelay
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# attack.sh [PACKETS-PER-SECOND]: while a film plays, somebody in the internet who has seen every packet of its beginning
# does what attack.py says, and floods the relay's port with rubbish. The film loses nothing, and no mapping moves.
# shellcheck shell=bash disable=SC2154,SC2034
. "$here/scenarios/common.sh"
relay_options=()
rate=${1:-5000}

add_attacker ()
{
  add_host attacker &&
    add_link attacker eth0 198.18.0.2/24 internet toX 198.18.0.1/24 &&
    ip -n attacker route add default via 198.18.0.1
}

need "there is an attacker" add_attacker
need "packets are seen at the camera's side" capture camera "$work/camera.pcap"
need "packets are seen at the viewer's side" capture viewer "$work/viewer.pcap"
begin_film --seconds 12
wait_for 30 has_units camera1 60
capture_end camera
capture_end viewer
before_camera=$(mappings camera)
before_viewer=$(mappings viewer)
start attacker "$work/attack.log" /usr/bin/python3 "$here/attack.py" "$RELAY_ADDRESS" 8443 6 "$work/camera.pcap" "$work/viewer.pcap"
attack_pid=$STARTED
start attacker "$work/flood.log" "$build/tests/natlab/natlab-flood" "$RELAY_ADDRESS" 8443 "$rate" 6
flood_pid=$STARTED
check "the attack takes place" ended "$attack_pid" 20
check "and the flood" ended "$flood_pid" 20
end_film 40
echo "# $(tail -n 1 "$work/attack.log"); rubbish: $(cat "$work/flood.log")"
check "what was stolen was much" grep -q "^loot: [1-9][0-9]* STUN messages, [1-9]" "$work/attack.log"
check "the film is whole" compare camera1 viewer1
check "the camera's mapping is the old one" grep -qxF "$(stat_of camera1 mapped-address)" <(echo "$before_camera")
check "the viewer's mapping is the old one" grep -qxF "$(stat_of viewer1 mapped-address)" <(echo "$before_viewer")
for name in camera1 viewer1; do
  check "$name did not move" test "$(stat_of $name rebinds)" = 0
  check "$name did not negotiate again" test "$(stat_of $name attempts)" = 1
  check "$name noticed no loss of its connection" bash -c "! grep -q '^lost' '$work/$name.log'"
done
done_testing
