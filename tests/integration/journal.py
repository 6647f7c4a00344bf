# natrelay
# SPDX-License-Identifier: LGPL-2.1-or-later

"""What natrelay-server says to systemd's journal: a namespace of its own in which this test is the journal, at the
addresses where the real one listens."""

import os
import socket
import struct
import subprocess
import sys
import threading

from relay import Relay, Stun, run, wait_until

JOURNAL = "/run/systemd/journal"


class Journal:
    """Both of its sockets: where a service's standard error leads, and where messages with fields go."""

    def __init__(self):
        os.makedirs(JOURNAL, exist_ok=True)
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.listener.bind(JOURNAL + "/stdout")
        self.listener.listen()
        self.datagrams = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.datagrams.bind(JOURNAL + "/socket")
        self.entries, self.plain = [], b""

    def stderr(self):
        """As systemd gives it to a service, and what JOURNAL_STREAM then says."""
        s = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        s.connect(JOURNAL + "/stdout")
        mine, _ = self.listener.accept()
        threading.Thread(target=self._read_plain, args=(mine,), daemon=True).start()
        threading.Thread(target=self._read_entries, daemon=True).start()
        st = os.fstat(s.fileno())
        return s, "%d:%d" % (st.st_dev, st.st_ino)

    def _read_plain(self, s):
        while True:
            data = s.recv(65536)
            if not data:
                return
            self.plain += data

    def _read_entries(self):
        while True:
            self.entries.append(self._parse(self.datagrams.recv(65536)))

    @staticmethod
    def _parse(data):
        """NAME=value lines; a value with line ends has its length in front (the journal's native protocol)."""
        fields = {}
        while data:
            line, _, data = data.partition(b"\n")
            name, equals, value = line.partition(b"=")
            if not equals:
                (n,) = struct.unpack_from("<Q", data)
                value, data = data[8 : 8 + n], data[8 + n + 1 :]
            fields[name.decode()] = value.decode()
        return fields

    def entry(self, event):
        found = [e for e in self.entries if e.get("NATRELAY_EVENT") == event]
        return found[0] if found else None


def test_events_have_fields():
    journal = Journal()
    s, stream = journal.stderr()
    with Relay("--verbose", env={"JOURNAL_STREAM": stream}, stderr=s.fileno()) as r:
        reply = r.publish("door", r.token(sub="cam\nera\x1b[2J", publish=["door"]))
        session = reply.json()
        wait_until(lambda: journal.entry("stream-live"))
        live = journal.entry("stream-live")
        assert live["MESSAGE"] == "stream door is live", live
        assert live["PRIORITY"] == "6" and live["SYSLOG_IDENTIFIER"] == "natrelay-server", live
        assert live["NATRELAY_STREAM"] == "door" and live["NATRELAY_ROLE"] == "publisher", live
        assert live["NATRELAY_SUBJECT"] == "cam?era?[2J", live
        assert live["NATRELAY_ADDRESS"].startswith("127.0.0.1:"), live
        assert live["NATRELAY_SESSION"] == session["session"][:8], "no more of an id than is needed"
        with Stun(r, session) as client:
            assert client.bind()["error"] == 0
            wait_until(lambda: journal.entry("session-registered"))
            assert journal.entry("session-registered")["PRIORITY"] == "7"
        r.request("DELETE", "/v1/sessions/" + session["session"], r.token(admin=True))
        wait_until(lambda: journal.entry("stream-lost"))
        everything = repr(journal.entries) + journal.plain.decode()
        for secret in (session["password"], session["username"], session["session"], r.values.get("publish-token", "x" * 99)):
            assert secret not in everything
    assert journal.plain == b"", journal.plain


def main():
    if os.environ.get("NATRELAY_JOURNAL") == "here":
        subprocess.run(["mount", "-t", "tmpfs", "tmpfs", "/run"], check=True)
        run(dict(globals()))
    how = ["unshare", "--mount"] + ([] if os.geteuid() == 0 else ["--user", "--map-root-user"])
    if subprocess.run(how + ["mount", "-t", "tmpfs", "tmpfs", "/run"], capture_output=True, check=False).returncode:
        print("1..0 # SKIP this system allows no namespace of our own")
        sys.exit(os.environ.get("CI") == "true")
    os.environ["NATRELAY_JOURNAL"] = "here"
    os.execvp("unshare", how + [sys.executable, "-B", os.path.abspath(__file__)] + sys.argv[1:])


if __name__ == "__main__":
    main()
