# natrelay
# SPDX-License-Identifier: LGPL-2.1-or-later

"""The relay's memory after many sessions were made and ended is what it was after a few. Sessions come by
POST over kept-alive TLS connections, publishers and subscribers, one in ten is registered by STUN, and
all are ended by DELETE. NATRELAY_SESSIONS says how many (10000)."""

import json
import os
import threading

from relay import MEDIA_KEY, Relay, Stun, description, read_one, run, wait_until

SESSIONS = int(os.environ.get("NATRELAY_SESSIONS", "10000"))
WARM_UP = 1000
CLIENTS = 4
STREAMS = 16
ENDED = 22  # bytes at most that the relay keeps of an ended id (data/endedset.h), which are not counted
ALLOWED = 1.05


class Client:
    """One connection that carries request after request."""

    def __init__(self, relay, number):
        self.relay = relay
        self.number = number
        self.connection = relay.tls()
        self.done = 0

    def ask(self, method, path, body=None):
        text = json.dumps(body) if body is not None else ""
        kind = "Content-Type: application/json\r\n" if body is not None else ""
        head = "%s %s HTTP/1.1\r\nHost: relay\r\n%sContent-Length: %d\r\n\r\n"
        self.connection.sendall((head % (method, path, kind, len(text)) + text).encode())
        return read_one(self.connection)

    def live(self):
        """One session's life."""
        self.done += 1
        stream = "/v1/streams/%d.%d/" % (self.number, self.done % STREAMS)
        if self.done % 4 == 0:
            ssrc = self.number << 24 | self.done  # none that another client's stream has
            body = description(ssrc, **{"media-keys": [MEDIA_KEY]})
            reply = self.ask("POST", stream + "publishers?takeover=true", body)
        else:
            reply = self.ask("POST", stream + "subscribers", {})
        assert reply.status == 201, reply.raw
        if self.done % 10 == 0:
            with Stun(self.relay, reply.json()) as stun:
                assert stun.bind()["error"] == 0
        reply = self.ask("DELETE", reply.fields["location"])
        assert reply.status == 204, reply.raw


def make_and_end(clients, total):
    """Until the clients made that many in all."""
    failures = []

    def work(client):
        try:
            while client.done < total / len(clients):
                client.live()
        except Exception as e:  # shown by the main thread
            failures.append(e)

    threads = [threading.Thread(target=work, args=(c,)) for c in clients]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not failures, failures


def resident(relay):
    with open("/proc/%d/status" % relay.process.pid) as f:
        fields = dict(line.split(":", 1) for line in f)
    return int(fields["VmRSS"].split()[0]) * 1024


def metric(relay, name):
    text = relay.request("GET", "/metrics").body.decode()
    return sum(
        float(line.rpartition(" ")[2])
        for line in text.splitlines()
        if line.partition("{")[0].partition(" ")[0] == name
    )


def test_memory_stays():
    with Relay("--open", max_posts_per_second=0) as r:
        clients = [Client(r, i) for i in range(CLIENTS)]
        seen = []
        for total in (WARM_UP, SESSIONS):
            make_and_end(clients, total)
            wait_until(lambda: metric(r, "natrelay_sessions") == 0)
            seen.append(resident(r) - ENDED * total)
            print(
                "# %d sessions: resident %.0f KiB, %.0f of them ended ids"
                % (total, seen[-1] / 1024 + ENDED * total / 1024, ENDED * total / 1024),
                flush=True,
            )
        assert seen[1] <= ALLOWED * seen[0], "it grew to %.3f times" % (seen[1] / seen[0])
        for c in clients:
            c.connection.close()


if __name__ == "__main__":
    run(dict(globals()))
