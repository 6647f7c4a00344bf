#!/bin/bash
# natrelay
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# install.sh BUILD: what "meson install" puts on a system is all there, and what reads it is content with it.
set -uo pipefail
build=$1
root=$(mktemp -d "${TMPDIR:-/tmp}/natrelay-install.XXXXXX")
trap 'rm -rf "$root"' EXIT
n=0

check ()
{
  local what=$1
  shift
  n=$((n + 1))
  if "$@" >"$root/said" 2>&1; then
    echo "ok $n - $what"
  else
    echo "not ok $n - $what"
    sed 's/^/# /' "$root/said"
  fi
}

# tool COMMAND: FALSE if it is not there, which is counted as skipped
tool ()
{
  command -v "$1" >/dev/null && return
  n=$((n + 1))
  echo "ok $n - $1 reads what is installed # SKIP $1 is not installed"
  return 1
}

# find_one NAME: where it was installed
find_one ()
{
  find "$root/tree" -name "$1" -not -type d | grep .
}

man_page ()
{
  local page said
  page=$(find_one "$1") || return 1
  said=$(LC_ALL=C.UTF-8 GROFF_NO_SGR=yes man --warnings -l -Tutf8 "$page" 2>&1 >"$root/page") || return 1
  [ -z "$said" ] || { echo "$said"; return 1; }
  sed 's/.\x08//g' "$root/page" | grep -e "$2"
}

hardened ()
{
  systemd-analyze security --offline=true --threshold=16 --no-pager "$(find_one "$1")"
}

# completes PROGRAM FOUND WORD...: as a user's shell would ask it, with the cursor at the last word.
completes ()
{
  local program=$1 found=$2
  shift 2
  bash -c 'source "$1"; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); compopt () { :; }
    name=${1##*/}; "_${name//-/_}"; printf "%s\n" "${COMPREPLY[@]}"' bash "$(find_one "$program" | grep completions)" \
    "$(find_one "$program" | grep /bin/)" "$@" |
    grep -x -- "$found" # -q would end before all is written, and whoever writes with it
}

starts_with_example ()
{
  NATRELAY_STATE_DIR=$root/state "$(find_one natrelay-server | grep /bin/)" --check \
    --config "$(find_one natrelay-server.conf)"
}

check "it installs" env DESTDIR="$root/tree" meson install -C "$build" --no-rebuild
for name in libgstnatrelay.so natrelay-server.service natrelay-token natrelay.conf natrelay-camera natrelay-camera.service natrelay-camera.conf; do
  check "$name is there" find_one "$name"
done
check "the example file changes nothing" starts_with_example
check "options are completed" completes natrelay-server --state-dir x --state
check "directories are completed" completes natrelay-server /etc --state-dir /et
check "options of status are completed" completes natrelay-server --token-file status --to
check "commands of natrelay-token are completed" completes natrelay-token create cr
check "their options are completed" completes natrelay-token --subscribe create --sub
check "files of theirs are completed" completes natrelay-token /etc/passwd inspect --key = /etc/pass
check "files of theirs are completed behind the short name" completes natrelay-token /etc inspect -k /et
check "options of natrelay-camera are completed" completes natrelay-camera --latency --la
check "its files are completed" completes natrelay-camera /etc/passwd --config = /etc/pass
if tool man; then
  check "man page of natrelay-server" man_page natrelay-server.8 'max-handshakes=N'
  check "man page of natrelay-token" man_page natrelay-token.1 'subscribe=GLOB'
  check "man page of natrelay-camera" man_page natrelay-camera.1 'transport=WORD'
fi
if tool systemd-analyze; then
  check "natrelay-server: systemd-analyze security is at most 1.6" hardened natrelay-server.service
  check "natrelay-camera: systemd-analyze security is at most 1.6" hardened natrelay-camera.service
fi
echo "1..$n"
