# natrelay
# SPDX-License-Identifier: LGPL-2.1-or-later

"""Connections to the relay's HTTPS port: one request after another, silence, numbers, limits."""

import contextlib
import json
import os
import resource
import select
import socket
import ssl
import tempfile
import threading
import time

from relay import Relay, Reply, answered, description, read_all, read_one, run, wait_until


def get(path="/healthz", last=False):
    close = b"Connection: close\r\n" if last else b""
    return b"GET %s HTTP/1.1\r\nHost: x\r\n%s\r\n" % (path.encode(), close)


def test_requests_one_after_another():
    with Relay() as r, r.tls() as s:
        for path, status in (("/healthz", 200), ("/absent", 404), ("/v1/streams", 401)) * 3:
            s.sendall(get(path))
            reply = read_one(s)
            assert reply.status == status and "connection" not in reply.fields, reply.raw
        body = json.dumps(description()).encode()
        s.sendall(
            b"POST /v1/streams/a/publishers HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\n"
            b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%s"
            % (r.values["publish-token"].encode(), len(body), body)
        )
        assert read_one(s).status == 201
        s.sendall(get(last=True) + get())
        reply = Reply(read_all(s))
        assert reply.raw.count(b"HTTP/1.1 ") == 1 and reply.fields["connection"] == "close"


def test_requests_sent_at_once():
    with Relay() as r:
        paths = ["/healthz", "/absent"] * 40
        reply = r.raw(b"".join(map(get, paths)) + get(last=True))
        told = [int(part[:3]) for part in reply.raw.split(b"HTTP/1.1 ")[1:]]
        assert told == [200, 404] * 40 + [200], told


def test_whoever_sends_much_takes_turns():
    with Relay() as r, r.tls() as greedy:
        enough = threading.Event()
        replies = []

        # One thread for both directions: OpenSSL has no lock for two.
        def ask_on_and_on():
            left = b""
            while not enough.is_set():
                left = left or get() * 20
                select.select([greedy], [greedy], [], 1)
                with contextlib.suppress(ssl.SSLWantReadError, ssl.SSLWantWriteError):
                    left = left[greedy.send(left) :]
                with contextlib.suppress(ssl.SSLWantReadError, ssl.SSLWantWriteError):
                    replies.append(greedy.recv(65536))

        greedy.setblocking(False)
        thread = threading.Thread(target=ask_on_and_on, daemon=True)
        thread.start()
        for _ in range(10):
            assert r.request("GET", "/healthz").status == 200
        enough.set()
        thread.join()
        assert replies and all(replies), "it was answered all the while"


def test_an_empty_line_before_a_request():
    with Relay() as r:
        for first in (b"\r\n", b""):
            reply = r.raw(first + get() + b"\r\n" + get("/absent") + get(last=True))
            told = [int(part[:3]) for part in reply.raw.split(b"HTTP/1.1 ")[1:]]
            assert told == [200, 404, 200], told
        assert r.raw(b"\r\n\r\n" + get()).status == 400, "one is enough"
        body = json.dumps(description()).encode()
        with r.tls() as s:
            s.sendall(
                b"\r\nPOST /v1/streams/a/publishers HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\n"
                b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%s\r"
                % (r.values["publish-token"].encode(), len(body), body)
            )
            assert read_one(s).status == 201
            s.sendall(b"\n" + get())
            assert read_one(s).status == 200, "an empty line in two pieces"


def test_a_broken_request_is_the_last():
    with Relay() as r:
        reply = r.raw(get() + b"GET / HTTP/1.1\r\nHost x\r\n\r\n" + get())
        assert reply.raw.count(b"HTTP/1.1 ") == 2, reply.raw
        assert b"HTTP/1.1 400 " in reply.raw and b"Connection: close" in reply.raw


def test_idle_connections_end():
    with Relay(request_timeout=1) as r, r.tls() as s:
        s.sendall(get())
        assert read_one(s).status == 200
        began = time.monotonic()
        s.sendall(get("/absent")[:10])
        reply = Reply(read_all(s))
        assert reply.problem() == "request-timeout", "a begun request has its deadline"
        assert time.monotonic() - began >= 1
        with r.tls() as idle:
            idle.sendall(get())
            assert read_one(idle).status == 200
            assert idle.recv(1) == b"", "closed with a goodbye"
        assert r.request("GET", "/healthz").status == 200


def test_idle_connections_make_room():
    with Relay(max_connections=12, max_connections_per_address=4) as r:
        with r.tls(source="127.0.0.9") as other:
            other.sendall(get())
            assert read_one(other).status == 200
            held = []
            for _ in range(10):
                held.append(r.tls(source="127.0.0.2"))
                held[-1].sendall(get())
                assert read_one(held[-1]).status == 200
            for s in held[:6]:
                assert s.recv(1) == b"", "it idled longest"
            held[-1].sendall(get())
            assert read_one(held[-1]).status == 200
            other.sendall(get())
            assert read_one(other).status == 200, "another's place is his"
            for s in held:
                s.close()


def test_strangers_do_not_push_out_clients():
    with Relay(max_connections=8, max_connections_per_address=4) as r, r.tls() as client:
        client.sendall(
            b"POST /v1/streams/a/subscribers HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\n\r\n"
            % r.values["subscribe-token"].encode()
        )
        assert read_one(client).status == 201
        held = []
        for i in range(20):
            held.append(r.tls(source="127.0.0.%d" % (2 + i)))
            held[-1].sendall(get())
            assert read_one(held[-1]).status == 200
        client.sendall(get())
        assert read_one(client).status == 200, "though it idled longest"
        for s in held:
            s.close()


def test_a_request_in_single_bytes():
    with Relay() as r, r.tls() as s:
        for byte in get(last=True):
            s.sendall(bytes((byte,)))
        assert answered(read_all(s))


# ---- Time and numbers ----


def test_slow_requests_end_at_the_deadline():
    with Relay(request_timeout=1, max_connections_per_address=100) as r:
        def drip(data, every):
            with r.tls() as s:
                began = time.monotonic()
                try:
                    for byte in data:
                        s.sendall(bytes((byte,)))
                        time.sleep(every)
                        if time.monotonic() - began > 20:
                            break
                except (ssl.SSLError, ConnectionError):
                    pass
                try:
                    answer = read_all(s)
                except OSError:
                    answer = b""
                return time.monotonic() - began, answer

        head = b"GET /healthz HTTP/1.1\r\n"
        for data in (b"", head, head + b"X: " + b"y" * 100,
                     b"POST /v1/streams/a/subscribers HTTP/1.1\r\nHost: x\r\nContent-Length: 90\r\n\r\n{"):
            began = time.monotonic()
            with r.tls() as s:
                s.sendall(data)
                answer = read_all(s)
                assert b" 408 " in answer.split(b"\r\n")[0], answer
                assert time.monotonic() - began >= 1, "not before"
        took, _ = drip(head + b"Host: " + b"y" * 400, 0.05)
        assert took < 15, "a byte now and then buys no time"  # 20 s of bytes, and 1 s for them
        # in the handshake: silence, and half a ClientHello
        for data in (b"", b"\x16\x03\x01\x02\x00\x01"):
            with r.connect() as s:
                s.sendall(data)
                read_all(s)  # fails if it is not closed


def still_open(s):
    """Nothing came, not even an end."""
    s.setblocking(False)
    try:
        return s.recv(1) != b""
    except BlockingIOError:
        return True
    except OSError:
        return False


def test_stalled_handshakes_hold_nobody_up():
    with Relay(max_handshakes=64) as r:
        before = r.descriptors()
        stalled = []
        try:
            for i in range(200):
                s = r.connect(source="127.0.0.%d" % (2 + i % 5))
                if i % 2:
                    s.sendall(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")
                stalled.append(s)
            for _ in range(20):
                assert r.request("GET", "/healthz").status == 200
            assert sum(map(still_open, stalled)) >= 32, "nobody waited until they were given up"
            assert r.descriptors() < before + 80
        finally:
            for s in stalled:
                s.close()
        wait_until(lambda: r.descriptors() <= before)


def test_connection_limits():
    with Relay(max_connections=12, max_connections_per_address=4) as r:
        held = [r.tls(source="127.0.0.2") for _ in range(4)]
        fifth = r.connect(source="127.0.0.2")
        assert read_all(fifth) == b"", "closed at accept"
        fifth.close()
        assert r.request("GET", "/healthz").status == 200, "others are welcome"
        for i in (3, 4):
            held += [r.tls(source="127.0.0.%d" % i) for _ in range(4)]
        assert r.request("GET", "/healthz").status == 200, "the oldest of those who have most makes room"
        for s in held:
            s.close()
        text = r.request("GET", "/metrics").body.decode()
        refused_total = int(text.split("\nnatrelay_https_refused_total ")[1].split("\n")[0])
        assert refused_total >= 2


def test_answers_that_nobody_reads_make_room():
    with Relay(max_connections=12, max_connections_per_address=4) as r:
        held = []
        for i in range(12):
            held.append(r.tls(source="127.0.0.%d" % (2 + i // 4)))
            held[-1].settimeout(0.2)
            try:
                while True:
                    held[-1].sendall(get("/status.js") * 50)
            except OSError:  # the relay reads no more, or is slow to
                pass
        wait_until(lambda: try_request(r), 5)  # before any of them runs out of time
        for s in held:
            s.close()


def try_request(r):
    try:
        return r.request("GET", "/healthz").status == 200
    except (OSError, ValueError):
        return False


def test_running_out_of_descriptors():
    limit = 120
    program = os.environ["NATRELAY_SERVER"]
    with tempfile.TemporaryDirectory() as d:
        wrapper = os.path.join(d, "few")
        with open(wrapper, "w") as f:
            f.write('#!/bin/sh\nulimit -n %d\nexec "%s" "$@"\n' % (limit, program))
        os.chmod(wrapper, 0o755)
        os.environ["NATRELAY_SERVER"] = wrapper
        try:
            r = Relay(max_connections=1000, max_connections_per_address=1000, max_handshakes=1000)
        finally:
            os.environ["NATRELAY_SERVER"] = program
        with r:
            wait_until(lambda: any("max-connections is lowered" in line for line in r.log))
            held = [r.connect() for _ in range(200)]
            for s in held:
                s.close()
            wait_until(lambda: try_request(r))


def test_losing_descriptors_while_running():
    with Relay(max_connections_per_address=1000, max_handshakes=1000) as r:
        few = r.descriptors() + 20
        resource.prlimit(r.process.pid, resource.RLIMIT_NOFILE, (few, few))
        held = [r.connect() for _ in range(100)]
        wait_until(lambda: any("no more descriptors" in line for line in r.log))
        assert r.request("GET", "/healthz").status == 200, "the oldest make room"
        for s in held:
            s.close()
        wait_until(lambda: r.descriptors() <= few - 20)


def test_descriptors_stay_flat():
    with Relay(max_posts_burst=10000) as r:
        for _ in range(5):
            r.request("GET", "/healthz")
        before = r.descriptors()
        for i in range(100):
            r.request("GET", "/healthz")
            r.connect().close()
            s = r.tls()
            s.sendall(b"GET /")
            s.close()
            s = r.tls()
            s.sendall(b"POST /v1/streams/a/subscribers HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{")
            s.close()
            s = r.connect()
            s.sendall(b"\x16garbage that is no TLS at all")
            s.close()
        wait_until(lambda: r.descriptors() <= before)


def test_quotas():
    with Relay(max_sessions=3, max_posts_burst=1000) as r:
        sessions = [r.subscribe("a") for _ in range(3)]
        full = r.subscribe("a")
        assert full.problem() == "relay-full" and full.status == 503 and full.fields["retry-after"]
        assert "(max-sessions)" in full.json()["detail"], full.raw
        r.request("DELETE", sessions[0].fields["location"], r.values["subscribe-token"])
        assert r.subscribe("a").status == 201
    with Relay(max_sessions_per_subject=2, max_posts_burst=1000) as r:
        ann, bob = r.token(sub="ann", subscribe=["**"]), r.token(sub="bob", subscribe=["**"])
        assert [r.subscribe("a", ann).status for _ in range(3)] == [201, 201, 429]
        assert r.subscribe("a", bob).status == 201
        assert r.subscribe("a", ann).problem() == "too-many-sessions"
    with Relay(max_sessions_per_address=2) as r:
        assert [r.subscribe("a").status for _ in range(3)] == [201, 201, 429]
        assert "max-sessions-per-address" in r.subscribe("a").json()["detail"]
        assert r.subscribe("a", source="127.0.0.2").status == 201
    with Relay(max_streams_per_subject=1, max_subscribers_per_stream=1, max_patterns=1) as r:
        assert r.publish("a").status == 201
        more = r.publish("b")
        assert more.problem() == "too-many-sessions" and "max-streams-per-subject" in more.json()["detail"], more.raw
        assert r.subscribe("a").status == 201
        assert "max-subscribers-per-stream" in r.subscribe("a").json()["detail"]
        assert r.subscribe("room/*").status == 201
        more = r.subscribe("hall/*")
        assert more.problem() == "relay-full" and "max-patterns" in more.json()["detail"], more.raw
    with Relay(max_posts_per_hour_per_subject=2) as r:
        ann, bob = r.token(sub="ann", subscribe=["**"]), r.token(sub="bob", subscribe=["**"])
        assert [r.subscribe("a", ann).status for _ in range(3)] == [201, 201, 429]
        hasty = r.subscribe("a", ann, source="127.0.0.2")
        assert hasty.problem() == "too-many-requests" and int(hasty.fields["retry-after"]) > 1000
        assert "max-posts-per-hour-per-subject" in hasty.json()["detail"], hasty.raw
        assert r.subscribe("a", bob).status == 201


def test_request_rate():
    with Relay(max_posts_per_second=1, max_posts_burst=3) as r:
        began, allowed, last = time.monotonic(), 0, r.subscribe("a")
        while last.status == 201:
            allowed += 1
            last = r.subscribe("a")
            assert allowed <= 3 + time.monotonic() - began, "a burst, and one in each second"
        assert allowed >= 3 and last.problem() == "too-many-requests"
        assert 1 <= int(last.fields["retry-after"]) <= 3
        assert r.subscribe("a", source="127.0.0.2").status == 201
        assert r.request("GET", "/healthz").status == 200
        wait_until(lambda: r.subscribe("a").status == 201)


def test_many_clients_at_once():
    with Relay(max_connections_per_address=200, max_handshakes=200, max_posts_burst=1000) as r:
        failures = []

        def work(n):
            try:
                for i in range(10):
                    assert r.subscribe("s%d" % n).status == 201
            except Exception as e:
                failures.append(e)

        threads = [threading.Thread(target=work, args=(n,)) for n in range(20)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        assert not failures, failures
        assert r.request("GET", "/v1/streams", r.token(list=True)).json()["total"] == 20


if __name__ == "__main__":
    run(dict(globals()))
