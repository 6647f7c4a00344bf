#!/bin/bash
# natrelay
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# element-pages.sh PYTHON: docs/elements is what the registry and the comments in gst/natrelay say now.
set -uo pipefail
here=$(cd "$(dirname "$0")" && pwd)
generate=$here/../../docs/elements/generate.py

echo "1..1"
if ! "$1" -c 'import gi; gi.require_version("Gst", "1.0")' 2>/dev/null && [ "${CI:-}" != true ]; then
  echo "ok 1 - the elements' pages are current # SKIP python3-gi or gir1.2-gstreamer-1.0 is not installed"
elif said=$("$1" -B "$generate" --check 2>&1); then
  echo "ok 1 - the elements' pages are current"
else
  echo "not ok 1 - the elements' pages are current"
  sed 's/^/# /' <<<"$said"
  exit 1
fi
