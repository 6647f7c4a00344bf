# natrelay
# SPDX-License-Identifier: LGPL-2.1-or-later

"""Attacks on the relay's HTTPS port, each a test of its own name, against the real program; docs/SECURITY.md lists them
with what comes of them. Slow and stalled clients, whose tests wait, stand in connections.py; tokens in attacks-tokens.py."""

import contextlib
import json
import os
import re
import socket
import ssl
import subprocess
import sys
import time

from keptalive import KeptAlive
from relay import MEDIA_KEY, SDP, Relay, Stun, description, read_all, read_one, run, tls_context, wait_until

# Names that are none, in every spelling; as they stand in a request line.
NAMES = (
    "..", ".", "../x", "a/../b", "a/./b", "a/..", "a//b", "a/", "%2e%2e", "%2E%2e", "%2e", ".%2e", "a/%2e%2e/b",
    "a%2f..%2fb", "a%2F%2E%2E%2Fb", "a%2f%2fb", "%2f", "%2fetc%2fpasswd", "..%2f..%2f..%2fetc%2fpasswd",
    "%252e%252e", "a%252fb", "a%2500", "a\\b", "..\\..\\b", "a%5cb", "a%5c..%5cb",
    "a%00", "%00", "a%00.txt", "a%0d%0ab", "a%0a", "a%09b", "a%20b", "a+b", "a;b", "a%3bb", "a%3fb", "a%23b", "a%7f",
    "a*", "*", "**", "a%2a", "a:b", "a@b", "a'b", "a%22b", "a%3cb%3e", "a%26b", "a|b", "a%7cb", "a$b", "a(b)", "a,b", "a=b", "a!b",
    # UTF-8: too long for what they say, half a pair, cut, beyond the last, and letters that are no ASCII
    "%c0%ae%c0%ae", "%c0%af", "a%c0%afb", "%e0%80%af", "%f0%80%80%af", "%f8%80%80%80%af", "%c0%80", "%ed%a0%80", "%ff", "%fe%ff",
    "%c3", "%e2%82", "%f4%90%80%80", "%c3%a9", "%ef%bc%8f", "%ef%bc%8e%ef%bc%8e", "%e2%80%ae", "%e2%80%8b", "%d0%b0", "%f0%9f%98%80",
    "%", "%2", "a%zz", "%u002e", "a%-1",
    "x" * 129, "x" * 4000, "a/" * 64 + "a" * 2,
)


def streams(relay):
    return [s["name"] for s in relay.request("GET", "/v1/streams", relay.token(list=True)).json()["streams"]]


def files(folder):
    return sorted(os.path.join(at, name) for at, _, names in os.walk(folder) for name in names)


# ---- Paths ----


def test_paths_in_stream_names():
    with Relay(max_posts_burst=10000) as r, KeptAlive(r) as asker:
        token = r.token(sub="x", publish=["**"], subscribe=["**"])
        before = files(r.state)
        for name in NAMES:
            for kind, body in (("publishers", description()), ("subscribers", {})):
                if kind == "subscribers" and ("*" in name or "%2a" in name) and name != "a*" and name != "a%2a":
                    continue  # patterns, and good ones
                reply = asker.request("POST", "/v1/streams/%s/%s" % (name, kind), token, body)
                assert reply.status in (400, 404, 405, 414), (name, kind, reply.raw)
                assert "location" not in reply.fields
        assert streams(r) == []
        assert files(r.state) == before
        assert r.publish("a.b/..c/d..", token).status == 201, "dots are no sin"
        assert streams(r) == ["a.b/..c/d.."]


def test_paths_to_files():
    """There are no files behind the relay's paths, whatever way is taken to them."""
    with Relay() as r, KeptAlive(r) as asker:
        with open(os.path.join(r.state, "secrets")) as f:
            secret = f.read().split()[1].encode()
        admin = r.token(sub="x", admin=True, list=True)
        for path in (
            "/secrets", "/../secrets", "/%2e%2e/secrets", "//secrets", "/./secrets", "/v1/../secrets", "/v1/sessions/../../secrets",
            "/v1/sessions/%2e%2e%2f%2e%2e%2fsecrets", "/v1/sessions/..%5c..%5csecrets", "/v1/streams/../sessions/x",
            "/etc/passwd", "//etc/passwd", "/..//..//..//etc/passwd", "/%2fetc%2fpasswd", "/v1/sessions//etc/passwd",
            "/v1/sessions/" + "../" * 20 + "etc/passwd", "/proc/self/environ", "/.git/config", "/metrics/../healthz", "/healthz/",
            "/v1/websocket/../sessions", "/v1/sessions/%00", "/v1%2fsessions", "/V1/sessions", "/v1/sessions%2f", "/v1;/sessions",
        ):
            reply = asker.request("GET", path, admin)
            assert reply.status in (400, 404), (path, reply.raw)
            assert secret not in reply.raw and b"root:" not in reply.raw


# ---- Header fields ----


def test_header_injection():
    """What a client sends comes back in no header field, and not as a line of its own."""
    mark = "injected7e57"
    with Relay() as r:
        token = r.token(sub=mark + "\r\nX-Sub: 1", publish=["**"], subscribe=["**"])
        for name in ("a%%0d%%0aX-Mark:%%20%s" % mark, "a%%0aSet-Cookie:%s" % mark, "a%%e5%%98%%8d%%e5%%98%%8aX:%s" % mark, mark + "%0d"):
            reply = r.publish(name, token)
            assert reply.status == 400 and mark.encode() not in reply.raw, reply.raw
            for path in ("/%s", "/v1/sessions/%s", "/healthz?x=%s", "/v1/sessions?stream=%s"):
                reply = r.request("GET", path % name, token)
                assert mark.encode() not in reply.raw, reply.raw
        good = None
        for fields in (
            {"Host": mark + ".example"}, {"X-Forwarded-Host": mark}, {"X-Forwarded-Proto": mark}, {"Origin": "https://" + mark},
            {"Referer": "https://" + mark}, {"User-Agent": mark}, {"X-Original-URL": "/" + mark}, {"If-Match": '"%s"' % mark},
            {"Forwarded": "host=" + mark}, {"Accept": mark}, {"Cookie": mark}, {"Range": "bytes=0-" + mark},
        ):
            host = fields.pop("Host", "x")
            body = json.dumps(description())
            fields.update({"Authorization": "Bearer " + token, "Content-Type": "application/json", "Content-Length": str(len(body))})
            head = "".join("%s: %s\r\n" % item for item in fields.items())
            request = "POST /v1/streams/a/publishers HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n%s\r\n%s" % (host, head, body)
            reply = r.raw(request.encode())
            assert reply.status == 201, (fields, reply.raw)
            assert mark.encode() not in reply.raw, (fields, reply.raw)
            assert "set-cookie" not in reply.fields and not any(n.startswith("access-control") for n in reply.fields)
            good = reply
        assert re.fullmatch("/v1/sessions/[A-Za-z0-9_-]{22}", good.fields["location"]), "no host that a client named"
        for host in ("x y", "x/..", "x\r\n y", "x,y", "<x>", 'x"', "a@b", "x\\y"):
            assert r.raw(("GET /healthz HTTP/1.1\r\nHost: %s\r\n\r\n" % host).encode("latin-1")).status == 400, host
        # The subject, which a token may spell as it likes, is text in JSON and in HTML.
        admin = r.token(sub="o", admin=True)
        assert r.request("GET", "/v1/sessions", admin).json()["sessions"][0]["subject"].startswith(mark + "\r\nX-Sub")


def test_request_smuggling():
    """Of two requests that one reader sees where another sees one, the relay serves none but the first, and hangs up."""
    get, host, hidden = b"GET /healthz HTTP/1.1\r\n", b"Host: x\r\n", b"GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n"
    chunk = b"0\r\n\r\n"
    with Relay() as r:
        for head, rest in (
            (b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", chunk + hidden),
            (b"Transfer-Encoding: chunked\r\nContent-Length: 200\r\n", chunk + hidden),
            (b"Transfer-Encoding: chunked\r\n", chunk + hidden),
            (b"Transfer-Encoding: identity\r\n", hidden), (b"transfer-encoding : chunked\r\n", chunk + hidden),
            (b"Transfer-Encoding:\tchunked\r\n", chunk + hidden), (b"Transfer-Encoding: xchunked\r\n", chunk + hidden),
            (b"Transfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n", chunk + hidden),
            (b"Content-Length: 0\r\nContent-Length: %d\r\n" % len(hidden), hidden),
            (b"Content-Length: 0, %d\r\n" % len(hidden), hidden), (b"Content-Length: +0\r\n", hidden), (b"Content-Length: -0\r\n", hidden),
            (b"Content-Length: 0x0\r\n", hidden), (b"Content-Length: 0 0\r\n", hidden), (b"Content-Length: 1e1\r\n", hidden),
            (b"Content-Length : 0\r\n", hidden), (b"X: y\r\n Content-Length: 0\r\n", hidden), (b"X: y\nContent-Length: 0\r\n", hidden),
            (b"X: y\r\rContent-Length: 0\r\n", hidden), (b"X\x00: y\r\n", hidden), (b"Content-Length: 0\x0b\r\n", hidden),
            (b"Host: y\r\n", hidden), (b"\r\r\n", hidden),
        ):
            reply = r.raw(get + host + head + b"\r\n" + rest)
            assert reply.raw.count(b"HTTP/1.1 ") == 1, (head, reply.raw)
            assert reply.status in (400, 413, 501) and reply.fields["connection"] == "close", (head, reply.raw)
        # Side by side they are two.
        reply = r.raw(get + host + b"Content-Length: 0\r\n\r\n" + hidden.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
        assert reply.raw.count(b"HTTP/1.1 ") == 2


# ---- Bodies ----


def test_json_bombs():
    with Relay() as r:
        token = r.values["publish-token"]
        sdp = json.dumps(SDP % 1)
        deep = lambda n: '{"sdp":%s,"x":%s1%s}' % (sdp, "[" * n, "]" * n)
        objects = lambda n: '{"sdp":%s,"x":%s1%s}' % (sdp, '{"a":' * n, "}" * n)
        with r.tls() as s:  # one connection for all: each is answered, and the next is served
            for body, good in (
                (deep(15), True), (deep(16), False), (deep(30000), False), (objects(15), True), (objects(16), False), (objects(10000), False),
                ("[" * 65536, False), ("{" * 65536, False), ('{"a":' * 13000, False),
                ('{"sdp":%s,"x":%s}' % (sdp, "9" * 18), True), ('{"sdp":%s,"x":%s}' % (sdp, "9" * 19), False),
                ('{"sdp":%s,"x":-%s}' % (sdp, "9" * 60000), False), ('{"sdp":%s,"x":1e999999999}' % sdp, None),
                ('{"sdp":%s,"x":0.%s}' % (sdp, "9" * 60000), None), ('{"sdp":%s,"x":1e%s}' % (sdp, "9" * 60000), None),
                ('{"sdp":%s,%s}' % (sdp, ",".join('"%d":0' % i for i in range(7000))), True),
                ('{"sdp":%s,"x":[%s]}' % (sdp, ",".join("0" * 30000)), True),
                ('{"sdp":%s,"x":"%s"}' % (sdp, "\\u0041" * 10000), True), ('{"sdp":%s,"x":"\\ud800"}' % sdp, False),
                ('{"sdp":%s,"x":"\\u0000"}' % sdp, False), ('{"sdp":%s,"\\u0000":1}' % sdp, False),
                ('{"sdp":%s,"media-keys":[%s]}' % (sdp, ",".join([json.dumps(MEDIA_KEY)] * 500)), False),
                ('{"sdp":"v=0\\r\\n%s"}' % ("m=video 9 RTP/AVPF 96\\r\\n" * 2000), False),
                ('{"sdp":"v=0\\r\\n%s"}' % ("a=x\\r\\n" * 9000), False),
            ):
                s.sendall(
                    ("POST /v1/streams/a/publishers HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\n"
                     "Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (token, len(body), body)).encode())
                reply = read_one(s)
                wanted = (201, 422) if good is None else (201,) if good else (422,)
                assert reply.status in wanted, (body[:100], reply.raw)
        assert r.request("POST", "/v1/streams/a/publishers", token, '{"sdp":%s,"x":"%s"}' % (sdp, "y" * 65536)).status == 413


def test_json_with_a_member_twice():
    """Readers differ in which of two they take: the relay forwards the SSRC that it shows, and no other."""
    one, two = json.dumps(SDP % 1), json.dumps(SDP % 2)
    for body in ('{"sdp":%s,"sdp":%s}' % (one, two), '{"sdp":%s,"\\u0073dp":%s}' % (two, one)):
        with Relay() as r:
            published = r.publish("a", body=body)
            if published.status == 422:
                continue
            shown = r.subscribe("a").json()
            ssrc = int(re.search("a=ssrc:([0-9]+)", shown["sdp"]).group(1))
            with Stun(r, published.json()) as p, Stun(r, shown) as s:
                assert p.bind()["error"] == 0 and s.bind()["error"] == 0
                for other in (3 - ssrc, ssrc):
                    p.socket.send(bytes([0x80, 96, 0, other]) + bytes(4) + other.to_bytes(4, "big") + bytes(50))
                data = b""
                while not data or data[0] < 128:
                    data = s.socket.recv(2048)
                assert data[8:12] == ssrc.to_bytes(4, "big")


# ---- Who never comes to an end ----


def test_answers_that_nobody_reads():
    """Somebody asks and asks, and reads nothing: he is put out in time, with no more kept for him than one answer."""
    with Relay(request_timeout=2, max_connections_per_address=200) as r:
        before = r.descriptors()
        greedy = []
        for _ in range(20):
            raw = socket.socket()
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
            raw.settimeout(20)
            raw.connect(("127.0.0.1", r.port))
            s = tls_context().wrap_socket(raw)
            s.setblocking(False)
            greedy.append(s)
        ask = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" * 50
        end = time.monotonic() + 60
        blocked = set()
        while len(blocked) < len(greedy):  # until TCP takes no more of any
            for s in greedy:
                try:
                    s.send(ask)
                except (ssl.SSLWantWriteError, ssl.SSLWantReadError, OSError):
                    blocked.add(s)
            assert time.monotonic() < end
        assert r.request("GET", "/healthz").status == 200
        wait_until(lambda: r.descriptors() <= before)
        for s in greedy:
            s.close()


def test_connections_cut_at_any_moment():
    """What is left half done holds nothing: descriptors and sessions are as before."""
    with Relay(max_posts_burst=10000) as r:
        body = json.dumps(description()).encode()
        request = (b"POST /v1/streams/cut/publishers HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\n"
                   b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (r.values["publish-token"].encode(), len(body), body))
        before = r.descriptors()
        for cut in range(0, len(request), 23):
            s = r.tls()
            s.sendall(request[:cut])
            if cut % 2:
                s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")  # a reset
            s.close()
        wait_until(lambda: r.descriptors() <= before)
        assert streams(r) == []


# ---- The log ----


def test_log_injection():
    """A client writes no line of its own into the log, and nothing that steers a terminal."""
    forged = "natrelay-server: fatal: forged"
    escapes = ("\n" + forged, "\r\n" + forged, "\x1b[2J\x1b[31mforged", "\x9b31mforged", "\u202eforged", "\u2028forged", "\u200bforged",
               "\0forged", "%sforged%n%s", '" by=forged who="')
    with Relay("--verbose", max_posts_burst=10000, request_timeout=2) as r, KeptAlive(r) as asker:
        for text in escapes:
            token = r.token(sub="x" + text, jti=text, publish=["**"], subscribe=["**"], list=True)
            r.publish("good", token, "?takeover=true", body={"sdp": (SDP % 7).replace("cname:test", "cname:" + text.replace("\n", " "))})
            r.subscribe("good", token)
            bad = "".join("%%%02x" % b for b in text.encode())
            for name in ("a" + bad, bad):
                asker.publish(name, token)
                asker.request("GET", "/" + name, token)
                asker.request("GET", "/healthz?" + name + "=" + name)
            fields = "".join("%s: a%s\r\n" % (name, text) for name in (
                "User-Agent", "Referer", "X-Forwarded-For", "Authorization", "If-Match", "Content-Type", "Upgrade"))
            for request in ("GET /v1/streams HTTP/1.1\r\nHost: x\r\nConnection: close\r\n" + fields, "G%s / HTTP/1.1\r\nHost: x\r\n" % text,
                            "GET /healthz HTTP/1.1\r\nConnection: close\r\nHost: a%s\r\n" % text):
                with r.tls() as s:
                    s.sendall((request + "\r\n").encode())
                    read_all(s)
            with r.connect() as s:  # where a handshake should be
                s.sendall(text.encode() * 10)
        context = tls_context()
        with context.wrap_socket(r.connect(), server_hostname="forged-name") as s:
            s.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            read_all(s)
        assert r.stop() == 0
        r.reader.join()
        wait_until(lambda: any("is live" in line for line in r.log))  # it does log
        for line in r.log:
            assert line.startswith("natrelay-server: ") and not line.startswith(forged), line
            assert not re.search("[\x00-\x1f\x7f-\x9f\u200b\u2028\u202e]", line), repr(line)
            assert "by=forged" not in re.sub(r'"(\\.|[^"\\])*"', '""', line), "no field is theirs either: " + line
            assert "eyJ" not in line, line


def test_page_injection():
    """Nor is what a client sends a tag of the status page, or a line of the metrics."""
    tag = "<script>alert(1)</script>"
    with Relay() as r:
        token = r.token(sub=tag, jti=tag, publish=["**"], subscribe=["**"])
        sdp = (SDP % 7).replace("cname:test", "cname:" + tag).replace("s=x", "s=" + tag)
        assert r.publish("a", token, body={"sdp": sdp}).status == 201
        assert r.subscribe("a", token).status == 201
        for name in ("%3cscript%3e", "a%22%7d 1".replace(" ", "%20"), "a%0anatrelay_forged%201"):
            assert r.publish(name, token).status == 400
        page, metrics = r.request("GET", "/"), r.request("GET", "/metrics")
        assert b"<script>alert" not in page.body and b"natrelay_forged" not in metrics.body
        assert "default-src 'none'" in page.fields["content-security-policy"]
        assert page.fields["x-content-type-options"] == "nosniff"
        line = re.compile(rb'(#.*|[a-z_0-9]+(\{[a-z_]+="[^"\\\n]*"(,[a-z_]+="[^"\\\n]*")*\})? [-+0-9.eInfNa]+)')
        for text in metrics.body.splitlines():
            assert line.fullmatch(text), text


# ---- TLS ----


def ask_with_openssl(relay, first):
    """What a TLS 1.2 client is told that says this before it asks."""
    with subprocess.Popen(
        ["openssl", "s_client", "-connect", "127.0.0.1:%d" % relay.port, "-tls1_2", "-legacy_renegotiation"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, bufsize=0,
    ) as client:
        said = b""
        while b"Verify return code" not in said:
            said += client.stdout.read(4096) or sys.exit("openssl: %r" % said)
        if first:
            client.stdin.write(first)
            while b"RENEGOTIATING" not in said:
                said += client.stdout.read(4096) or sys.exit("openssl: %r" % said)
        with contextlib.suppress(BrokenPipeError):
            client.stdin.write(b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        while chunk := client.stdout.read(4096):
            said += chunk
        return said


def test_tls_renegotiation():
    """Handshakes are what costs a server most: each connection has one."""
    with Relay() as r:
        assert b"HTTP/1.1 200" in ask_with_openssl(r, b"")
        assert b"HTTP/1.1 200" not in ask_with_openssl(r, b"R\n")
        assert r.request("GET", "/healthz").status == 200


def test_tls_resumption_and_early_data():
    """A session that was seen is of no use, and nothing is taken before the handshake is over."""
    with Relay() as r:
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            context = tls_context(version)
            with context.wrap_socket(r.connect()) as s:
                s.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
                assert read_one(s).status == 200
                assert s.compression() is None
                kept = s.session
            with context.wrap_socket(r.connect(), session=kept) as s:
                assert not s.session_reused


if __name__ == "__main__":
    run(dict(globals()))
