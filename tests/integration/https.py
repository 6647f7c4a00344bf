# natrelay
# SPDX-License-Identifier: LGPL-2.1-or-later

"""The relay's HTTPS side, driven from outside against the real program."""

import json
import os
import tempfile
import time

from relay import MEDIA_KEY, SDP, Relay, Stun, description, read_all, refused, run, wait_until

GONE = "/v1/sessions/" + "A" * 22


# ---- Routes ----


def test_publisher_session():
    with Relay() as r:
        reply = r.publish("house/front/door", body=description(**{"media-keys": [MEDIA_KEY]}))
        assert reply.status == 201
        d = reply.json()
        assert reply.fields["location"] == "/v1/sessions/" + d["session"]
        assert reply.fields["etag"] == '"%s-%d"' % (d["boot-id"], d["version"])
        assert reply.fields["connection"] == "close"
        assert d["version"] == 1 and d["publisher"] == "live"
        assert len(d["password"]) == 43 and len(d["session"]) == 22 and d["realm"] == "natrelay"
        assert d["udp"] == [{"address": "127.0.0.1", "port": r.port}]
        assert d["keepalive-ms"] == 4000 and 3590 <= d["expires-s"] <= 3600
        assert d["sdp"] == SDP % 1234
        assert "media-keys" not in d, "the publisher has its keys"
        token = r.values["publish-token"]
        again = r.request("GET", reply.fields["location"], token)
        assert again.status == 200 and again.fields["etag"] == reply.fields["etag"]
        assert again.json()["password"] == d["password"]
        gone = r.request("DELETE", reply.fields["location"], token)
        assert gone.status == 204 and gone.body == b""
        assert r.request("GET", reply.fields["location"], token).problem() == "session-unknown"
        assert r.request("DELETE", reply.fields["location"], token).status == 404


def test_subscriber_before_and_after_the_publisher():
    with Relay() as r:
        early = r.subscribe("a")
        assert early.status == 201
        d = early.json()
        assert d["version"] == 1 and d["publisher"] == "none" and "sdp" not in d
        r.publish("a", body=description(**{"media-keys": [MEDIA_KEY]}))
        d = r.request("GET", early.fields["location"], r.values["subscribe-token"]).json()
        assert d["version"] == 2 and d["publisher"] == "live"
        assert d["sdp"] == SDP % 1234 and d["media-keys"] == [MEDIA_KEY]
        late = r.subscribe("a", body="").json()
        assert late["version"] == 2 and late["media-keys"] == [MEDIA_KEY]
        assert late["session"] != d["session"] and late["password"] != d["password"]


def test_description_changes_with_if_match():
    with Relay() as r:
        token = r.values["publish-token"]
        first = r.publish("a")
        path = first.fields["location"] + "/description"
        etag = first.fields["etag"]
        put = lambda ssrc, **f: r.request("PUT", path, token, description(ssrc), f)
        second = put(2, **{"If-Match": etag})
        assert second.status == 200 and second.json()["version"] == 2
        assert second.json()["sdp"] == SDP % 2
        stale = put(3, **{"If-Match": etag})
        assert stale.problem() == "version-mismatch" and stale.status == 412
        assert stale.fields["etag"] == second.fields["etag"]
        assert put(3, **{"If-Match": "*"}).json()["version"] == 3
        assert put(4, **{"If-Match": '"x", "%s-3"' % first.json()["boot-id"]}).status == 200
        assert put(5, **{"If-Match": "W/" + put(4).fields["etag"]}).status == 412
        assert put(6).status == 200
        assert r.request("PUT", path, token, {"sdp": "v=1"}).problem() == "description-invalid"
        s = r.subscribe("a")
        reply = r.request("PUT", s.fields["location"] + "/description",
                          r.values["subscribe-token"], description())
        assert reply.problem() == "not-permitted"


def test_fresh_token_renews():
    with Relay() as r:
        short = r.token(sub="publisher", publish=["a"], expires=100)
        d = r.publish("a", short)
        assert 125 <= d.json()["expires-s"] <= 130, "the token's end and 30 s of leeway"
        long = r.token(sub="publisher", publish=["a"], expires=1000)
        path = d.fields["location"] + "/token"
        reply = r.request("PUT", path, long, {})
        assert reply.status == 200
        new = reply.json()
        assert 1025 <= new["expires-s"] <= 1030
        assert new["username"] != d.json()["username"]
        assert new["password"] == d.json()["password"] and new["session"] == d.json()["session"]
        assert r.request("PUT", path, long).status == 200, "no body is as good as {}"
        assert r.request("PUT", path, long, "[]").problem() == "body-invalid"
        other = r.token(sub="somebody", publish=["a"], expires=1000)
        assert r.request("PUT", path, other, {}).problem() == "not-permitted"
        narrow = r.token(sub="publisher", publish=["b"], expires=1000)
        assert r.request("PUT", path, narrow, {}).problem() == "not-permitted"


def test_username_is_renewed_by_get():
    with Relay() as r:
        # a token that ends soon: less than half a life is left, and no more can be given
        d = r.publish("a", r.token(sub="p", publish=["**"], expires=60))
        again = r.request("GET", d.fields["location"], r.token(sub="p", publish=["**"]))
        assert again.json()["expires-s"] <= 90
        # after a fresh token there is
        again = r.request("PUT", d.fields["location"] + "/token", r.token(sub="p", publish=["**"]))
        assert again.json()["expires-s"] > 3590


def test_lists():
    with Relay() as r:
        r.publish("a")
        r.subscribe("a")
        r.subscribe("b/c")
        lists = r.token(sub="l", list=True)
        streams = r.request("GET", "/v1/streams", lists).json()
        assert streams["total"] == 2
        assert [s["name"] for s in streams["streams"]] == ["a", "b/c"]
        assert streams["streams"][0]["publisher"] == "live"
        assert streams["streams"][0]["subscribers"] == 1
        sessions = r.request("GET", "/v1/sessions", r.token(sub="o", admin=True)).json()
        assert sessions["total"] == 3 and len(sessions["sessions"][0]["session"]) == 22
        assert sessions["sessions"][0]["registered"] is False
        assert r.request("GET", "/v1/sessions?stream=a", lists).json()["total"] == 2
        short = r.request("GET", "/v1/sessions", lists).json()["sessions"][0]["session"]
        assert len(short) == 8, "an id is for whoever may end a session"
        for path in ("/v1/streams", "/v1/sessions"):
            assert r.request("GET", path).problem() == "token-missing"
            assert r.request("GET", path, r.values["publish-token"]).problem() == "not-permitted"


def test_operator_ends_a_session():
    with Relay() as r:
        d = r.subscribe("a")
        admin = r.token(sub="operator", admin=True)
        assert r.request("GET", d.fields["location"], admin).problem() == "not-permitted"
        assert r.request("DELETE", d.fields["location"], admin).status == 204
        with Stun(r, d.json()) as s:
            answer = s.bind()
            assert answer["error"] == 403 and answer["reason"] == 4


def test_pages():
    with Relay() as r:
        assert r.request("GET", "/healthz").json() == {"status": "ok"}
        r.publish("cam-1")
        text = r.request("GET", "/metrics").body.decode()
        assert "natrelay_build_info{version=" in text
        assert 'natrelay_streams{publisher="live"} 1' in text
        assert 'natrelay_stream_packets_received_total{stream="cam-1"} 0' in text
        names = [line.split()[2] for line in text.splitlines() if line.startswith("# TYPE")]
        assert len(names) == len(set(names))
        # a proxy on this machine speaks for strangers
        far = {"X-Forwarded-For": "198.51.100.1"}
        assert r.request("GET", "/metrics", fields=far).problem() == "token-missing"
        assert r.request("GET", "/metrics", r.values["publish-token"], fields=far).status == 403
        assert r.request("GET", "/metrics", r.token(list=True), fields=far).status == 200


def test_status_page_is_for_everybody_and_says_nothing():
    with Relay() as r:
        r.publish("cam-1")
        for path, kind in (
            ("/", "text/html"),
            ("/status.css", "text/css"),
            ("/status.js", "text/javascript"),
            ("/words.js", "text/javascript"),
            ("/status.svg", "image/svg+xml"),
        ):
            page = r.request("GET", path, fields={"X-Forwarded-For": "198.51.100.1"})
            assert page.status == 200 and page.fields["content-type"].startswith(kind), page.raw
            policy = page.fields["content-security-policy"]
            assert policy.startswith("default-src 'none'") and "unsafe" not in policy, policy
            # nothing of this relay, and nothing from elsewhere
            for word in (b"cam-1", b"127.0.0.1", b"http://", b"https://"):
                assert word not in page.body.replace(b"http://www.w3.org/2000/svg", b""), (path, word)


def test_head_and_other_methods():
    with Relay() as r:
        head, get = r.request("HEAD", "/healthz"), r.request("GET", "/healthz")
        assert head.status == 200 and head.body == b""
        assert head.fields["content-length"] == get.fields["content-length"]
        for method, path, allow in (
            ("OPTIONS", "/", "GET, HEAD"),
            ("POST", "/healthz", "GET, HEAD"),
            ("GET", "/v1/streams/a/publishers", "POST"),
            ("DELETE", "/v1/streams/a/subscribers", "POST"),
            ("PATCH", "/v1/sessions/x", "GET, HEAD, DELETE"),
            ("GET", "/v1/sessions/x/token", "PUT"),
            ("BREW", "/v1/sessions/x/description", "PUT"),
        ):
            reply = r.request(method, path)
            assert reply.problem() == "method-not-allowed", (method, path)
            assert reply.fields["allow"] == allow, (path, reply.fields)
        for path in ("/nothing", "/v1", "/v1/", "/v1/streams/", "/v1/streams/a", "/v1/sessions/",
                     "/v1/sessions/x/y", "/v1/sessions/x/token/z", "//", "/v1/streams/publishers"):
            assert r.request("GET", path).status in (404, 405), path
        assert r.request("POST", "/v1/streams/publishers").problem() == "not-found"


# ---- Who may ----


def test_tokens_and_their_problems():
    with Relay() as r:
        path = "/v1/streams/a/publishers"
        body = description()

        def ask(token=None, **f):
            return r.request("POST", path, token, body, f)

        missing = ask()
        assert missing.problem() == "token-missing" and missing.status == 401
        assert missing.fields["www-authenticate"] == 'Bearer realm="natrelay"'
        assert ask(Authorization="Basic QTpB").problem() == "token-missing"
        for bad in ("x", "a.b.c", "..", r.token(publish=["a"])[:-1], "é",
                    r.token(publish=["a"], header={"alg": "none"}),
                    r.token(key=b"k" * 32, publish=["a"]),
                    r.token(publish="a"), r.token(publish=[1]), r.token(exp="soon"), "A" * 5000):
            reply = ask(bad)
            assert reply.problem() == "token-invalid", (bad, reply.body)
            assert 'error="invalid_token"' in reply.fields["www-authenticate"]
        old = ask(r.token(publish=["a"], expires=-31))
        assert old.problem() == "token-expired"
        assert ask(r.token(publish=["a"], expires=-10)).status == 201, "within the leeway"
        assert ask(r.token(publish=["a"], nbf=int(time.time()) + 100)).problem() == "token-expired"
        wrong = ask(r.token(publish=["b", "a/*"], subscribe=["**"]))
        assert wrong.problem() == "not-permitted" and wrong.status == 403
        assert 'error="insufficient_scope"' in wrong.fields["www-authenticate"]
        assert r.subscribe("a", r.values["publish-token"]).problem() == "not-permitted"
        assert r.publish("a", r.values["subscribe-token"]).problem() == "not-permitted"
        assert ask(r.token(sub="x" * 65, publish=["*"], takeover=True)).status in (201, 409)
        assert not any(r.token(publish=["a"])[:20] in line for line in r.log)


def test_a_session_belongs_to_its_subject():
    with Relay() as r:
        mine = r.token(sub="alice", subscribe=["**"])
        yours = r.token(sub="bob", subscribe=["**"])
        d = r.subscribe("a", mine)
        for method, path in (("GET", ""), ("PUT", "/token"), ("DELETE", "")):
            reply = r.request(method, d.fields["location"] + path, yours)
            assert reply.problem() == "not-permitted", (method, path)
            assert r.request(method, d.fields["location"] + path).problem() == "token-missing"
        assert r.request("GET", d.fields["location"], mine).status == 200
        assert r.request("GET", GONE, mine).problem() == "session-unknown"
        assert r.request("GET", "/v1/sessions/../x", mine).status == 404
        # without a subject a token owns what it made itself and nothing else
        one = r.token(jti="1", subscribe=["**"])
        two = r.token(jti="2", subscribe=["**"])
        path = r.subscribe("a", one).fields["location"]
        for token in (two, mine):
            assert r.request("GET", path, token).problem() == "not-permitted"
            assert r.request("PUT", path + "/token", token, {}).problem() == "not-permitted"
            assert r.request("DELETE", path, token).problem() == "not-permitted"
        assert r.request("PUT", path + "/token", one, {}).status == 200
        assert r.request("DELETE", path, one).status == 204
        # two long subjects with the same beginning are two subjects
        one = r.token(sub="s" * 80 + "1", subscribe=["**"])
        two = r.token(sub="s" * 80 + "2", subscribe=["**"])
        d = r.subscribe("a", one)
        assert r.request("GET", d.fields["location"], two).problem() == "not-permitted"
        assert r.request("GET", d.fields["location"], one).status == 200


def test_token_keys_from_files():
    with tempfile.TemporaryDirectory() as d:
        path = os.path.join(d, "site.key")
        with open(path, "w") as f:
            f.write("11" * 32 + "\n")
        with Relay("--token-key", path) as r:
            key = b"\x11" * 32
            header = {"alg": "HS256", "kid": "site"}
            assert r.publish("a", r.token(key=key, header=header, publish=["a"])).status == 201
            header["kid"] = "other"
            reply = r.publish("b", r.token(key=key, header=header, publish=["b"]))
            assert reply.problem() == "token-invalid"
            assert r.publish("c").status == 201, "the relay's own key stays"


def test_same_subject_supersedes_at_once():
    with Relay() as r:
        old = r.publish("a", ssrc=1).json()
        with Stun(r, old) as s:
            assert s.bind()["error"] == 0
            new = r.publish("a", ssrc=2)
            assert new.status == 201 and new.json()["version"] == 2
            answer = s.bind()
            assert answer["error"] == 403 and answer["reason"] == 5, answer
        token = r.values["publish-token"]
        assert r.request("GET", "/v1/sessions/" + old["session"], token).status == 404


def test_another_publisher_is_busy_for_three_seconds():
    with Relay() as r:
        one = r.token(sub="one", publish=["**"])
        two = r.token(sub="two", publish=["**"])
        strong = r.token(sub="three", publish=["**"], takeover=True)
        nameless = r.token(publish=["**"])
        with Stun(r, r.publish("a", one).json()) as s:
            assert s.bind()["error"] == 0
            busy = r.publish("a", two)
            assert busy.problem() == "stream-busy" and busy.status == 409
            assert busy.fields["retry-after"] == "3"
            assert r.publish("a", two, "?takeover=true").problem() == "stream-busy"
            assert r.publish("a", strong).problem() == "stream-busy", "it did not ask"
            assert r.publish("a", strong, "?takeover=maybe").problem() == "query-invalid"
            assert r.publish("a", nameless).problem() == "stream-busy"
            assert r.publish("c", nameless).status == 201
            assert r.publish("c", nameless).problem() == "stream-busy", "nobody to be known by"
            assert r.publish("a", strong, "?takeover=true").status == 201
            assert s.bind()["reason"] == 5
        assert r.publish("a", two).problem() == "stream-busy", "the new one is young"
        wait_until(lambda: r.publish("a", two).status == 201, 5)


def test_publisher_leaves_and_its_place_is_kept():
    with Relay() as r:
        token = r.values["publish-token"]
        d = r.publish("a")
        s = r.subscribe("a")
        watch = lambda: r.request("GET", s.fields["location"], r.values["subscribe-token"]).json()
        assert r.request("DELETE", d.fields["location"] + "?ended=perhaps", token).status == 400
        assert r.request("DELETE", d.fields["location"] + "?ended=true", token).status == 204
        grace = watch()
        assert grace["publisher"] == "grace" and grace["sdp"] and grace["version"] == 2
        assert r.publish("a", r.token(sub="other", publish=["a"])).status == 201
        assert watch()["publisher"] == "live"


# ---- Mapping and restart ----


def test_registration_shows():
    with Relay() as r:
        with Stun(r, r.publish("a").json()) as s:
            answer = s.bind()
            assert answer["error"] == 0 and answer["version"] == 1
            admin = r.token(admin=True)
            wait_until(lambda: r.request("GET", "/v1/sessions", admin).json()["sessions"][0]["registered"])
            mapped = r.request("GET", "/v1/sessions", admin).json()["sessions"][0]["mapped"]
            assert mapped == "127.0.0.1:%d" % s.socket.getsockname()[1]
            r.subscribe("a")
            token = r.values["publish-token"]
            location = "/v1/sessions/" + r.request("GET", "/v1/sessions", admin).json()["sessions"][0]["session"]
            r.request("PUT", location + "/description", token, description(7))
            wait_until(lambda: s.bind()["version"] == 2)


def test_restart_revives_sessions_but_not_ended_ones():
    with Relay() as r:
        port = r.port
        kept = r.publish("a").json()
        watcher = r.subscribe("a").json()
        ended = r.subscribe("a").json()
        token = r.values["publish-token"]
        assert r.request("DELETE", "/v1/sessions/" + ended["session"],
                         r.values["subscribe-token"]).status == 204
        # A thread of the relay's writes that down.
        wait_until(lambda: os.path.getsize(os.path.join(r.state, "ended")) > 0)
        r.process.kill()
        r.process.wait()
        with Relay(state=r.state, listen=("127.0.0.1:%d" % port,)) as again:
            with Stun(again, ended) as s:
                answer = s.bind()
                assert answer["error"] == 403 and answer["reason"] == 4, answer
            with Stun(again, watcher) as w, Stun(again, kept) as s:
                assert w.bind()["version"] == 0, "the relay lacks the description"
                assert s.bind()["version"] == 0
                path = "/v1/sessions/" + kept["session"]
                d = again.request("GET", path, token).json()
                assert d["publisher"] == "live" and "sdp" not in d
                assert d["password"] == kept["password"]
                assert d["boot-id"] != kept["boot-id"]
                stale = {"If-Match": '"%s-1"' % kept["boot-id"]}
                body = description()
                assert again.request("PUT", path + "/description", token, body, stale).status == 412
                reply = again.request("PUT", path + "/description", token, body)
                assert reply.status == 200
                version = reply.json()["version"]
                wait_until(lambda: w.bind()["version"] == version)
                d = again.request("GET", "/v1/sessions/" + watcher["session"],
                                  again.values["subscribe-token"]).json()
                assert d["sdp"] == body["sdp"] and d["publisher"] == "live"


# ---- Requests that are no good ----


def test_malformed_requests():
    get = b"GET /healthz HTTP/1.1\r\n"
    end = b"Connection: close\r\n\r\n"
    host = b"Host: x\r\n"
    table = (
        (get + host + end, 200),
        (b"GET /healthz HTTP/1.0\r\n\r\n", 200),
        (b"GET https://x/healthz HTTP/1.1\r\n" + host + end, 200),
        (b"GET /he%61lthz?x=%20 HTTP/1.1\r\n" + host + end, 200),
        (get + b"\r\n", 400),
        (get + host + host + b"\r\n", 400),
        (get + b"Host: a b\r\n\r\n", 400),
        (get + b"Host: a/b\r\n\r\n", 400),
        (get + host + b" folded: 1\r\n\r\n", 400),
        (get + host + b"A: 1\r\n\tmore\r\n\r\n", 400),
        (get + host + b"A : 1\r\n\r\n", 400),
        (get + host + b": 1\r\n\r\n", 400),
        (get + host + b"A\r\n\r\n", 400),
        (get + host + b"A: \x01\r\n\r\n", 400),
        (get + host + b"A: \x00\r\n\r\n", 400),
        (get + host + b"A: 1\rB: 2\r\n\r\n", 400),
        (get + b"Host: x\n\n", 400),
        (b"GET /healthz HTTP/1.1\nHost: x\r\n\r\n", 400),
        (b"\r\n\r\n" + get + host + b"\r\n", 400),
        (b"GET  /healthz HTTP/1.1\r\n" + host + b"\r\n", 400),
        (b" GET /healthz HTTP/1.1\r\n" + host + b"\r\n", 400),
        (b"GET /healthz\r\n" + host + b"\r\n", 400),
        (b"GET\r\n\r\n", 400),
        (b"G(T /healthz HTTP/1.1\r\n" + host + b"\r\n", 400),
        (b"GET healthz HTTP/1.1\r\n" + host + b"\r\n", 400),
        (b"GET * HTTP/1.1\r\n" + host + b"\r\n", 400),
        (b"GET /a#b HTTP/1.1\r\n" + host + b"\r\n", 400),
        (b"GET /%zz HTTP/1.1\r\n" + host + b"\r\n", 400),
        (b"GET /%00 HTTP/1.1\r\n" + host + b"\r\n", 400),
        (b"GET /%ff HTTP/1.1\r\n" + host + b"\r\n", 400),
        (b"GET /%4 HTTP/1.1\r\n" + host + b"\r\n", 400),
        (b"GET /\xc3\xa9 HTTP/1.1\r\n" + host + b"\r\n", 400),
        (b"GET /healthz HTTP/2.0\r\n" + host + b"\r\n", 505),
        (b"GET /healthz HTTP/1.2\r\n" + host + b"\r\n", 505),
        (b"GET /healthz HTTP/0.9\r\n" + host + b"\r\n", (400, 505)),
        (b"GET /healthz FTP/1.1\r\n" + host + b"\r\n", 400),
        (get + host + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 501),
        (get + host + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n", 501),
        (get + host + b"Content-Length: 1\r\nContent-Length: 1\r\n\r\nx", 400),
        (get + host + b"Content-Length: 1, 1\r\n\r\nx", 400),
        (get + host + b"Content-Length: -1\r\n\r\n", 400),
        (get + host + b"Content-Length: +1\r\n\r\nx", 400),
        (get + host + b"Content-Length: 0x1\r\n\r\nx", 400),
        (get + host + b"Content-Length: \r\n\r\n", 400),
        (get + host + b"Content-Length: 99999999999999999999\r\n\r\n", 413),
        (get + host + b"Content-Length: 65537\r\n\r\n", 413),
        (get + host + b"Content-Length: 00000000000000000003\r\n" + end + b"xxx", 200),
        (get + host + b"Authorization: Bearer a\r\nAuthorization: Bearer b\r\n\r\n", 400),
        (get + host + b"Expect: 200-maybe\r\n\r\n", 417),
        (get + host + b"A: 1\r\n" * 101 + b"\r\n", 400),
        (get + host + b"A: " + b"x" * 9000 + b"\r\n\r\n", 431),
        (b"GET /" + b"x" * 9000 + b" HTTP/1.1\r\n" + host + b"\r\n", 414),
        (b"GET /" + b"x/" * 4000 + b" HTTP/1.1\r\n" + host + end, 404),
    )
    with Relay() as r:
        for data, status in table:
            reply = r.raw(data)
            expected = status if isinstance(status, tuple) else (status,)
            assert reply.status in expected, (data[:80], reply.raw)
            if reply.status >= 400:
                reply.problem()


def test_bodies():
    with Relay() as r:
        token = r.values["publish-token"]
        path = "/v1/streams/a/publishers"
        for body in ("", "{", "[]", "null", "{}", '{"sdp":1}', '{"sdp":null}', '{"sdp":"x"}',
                     '{"sdp":["v=0"]}', "\x00", '{"sdp":"v=0\\r\\n"}', '"sdp"', "[" * 5000,
                     json.dumps(description(0)), '{"sdp":"v=0\\u0000"}',
                     json.dumps(description(1, **{"media-keys": {}})),
                     json.dumps(description(1, **{"media-keys": [{}]})),
                     json.dumps(description(1, **{"media-keys": [MEDIA_KEY] * 2})),
                     json.dumps(description(1, **{"media-keys": [dict(MEDIA_KEY, key="x")]}))):
            reply = r.request("POST", path, token, body)
            assert reply.problem() == "description-invalid", (body, reply.body)
        for body in ("[]", "{", "1", "{}{}", '{"instant-start":1}', '{"instant-start":"yes"}'):
            assert r.subscribe("a", body=body).problem() == "body-invalid", body
        for body in ('{"instant-start":true}', '{"instant-start":false,"later":1}'):
            assert r.subscribe("a", body=body).status == 201, body
        for kind in ("text/plain", "application/jsonx", "", "multipart/form-data"):
            reply = r.publish("a", fields={"Content-Type": kind})
            assert reply.problem() == "media-type-unsupported", kind
        reply = r.publish("a", fields={"Content-Type": "Application/JSON; charset=utf-8"})
        assert reply.status == 201
        # at its limit, and one more
        full = json.dumps(description(9)).ljust(65536)
        assert r.publish("a", body=full).status == 201
        assert r.publish("a", body=full + " ").problem() == "body-too-large"


def test_stream_names():
    with Relay() as r:
        for name in ("a b", "a%20b", "%2e%2e", "a/../b", "a//b", "a/", "/a", "*", "a/**", "é", "a%00",
                     "x" * 129, "a%3Fb", "."):
            reply = r.publish(name) if " " not in name and "é" not in name else None
            assert reply is None or reply.status in (400, 404), name
        assert r.publish("a%2Fb").json()["publisher"] == "live"
        assert r.publish("a/b", ssrc=5).json()["version"] == 2, "the same stream"
        for name in ("x" * 128, "a.b_c~d-e/F", "publishers", "v1/streams/a/subscribers", "..."):
            assert r.publish(name).status == 201, name


def test_large_body_is_refused_at_once():
    with Relay() as r, r.tls() as s:
        s.sendall(b"POST /v1/streams/a/publishers HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n")
        began = time.monotonic()
        reply = read_all(s)
        assert b" 413 " in reply.split(b"\r\n")[0]
        assert time.monotonic() - began < 5, "a body that does not come is waited for ten seconds"


def test_an_answer_outlives_what_is_still_being_sent():
    """A client that pours on must get to read why it was refused."""
    with Relay() as r:
        head = b"POST /v1/streams/a/publishers HTTP/1.1\r\nHost: x\r\nContent-Length: 200000\r\n\r\n"
        for _ in range(5):
            assert r.raw(head + b"x" * 200000).status == 413


def test_expect_continue():
    with Relay() as r, r.tls() as s:
        s.sendall(b"POST /v1/streams/a/subscribers HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\n"
                  b"Connection: close\r\n"
                  b"Content-Type: application/json\r\nContent-Length: 2\r\n"
                  b"Authorization: Bearer " + r.values["subscribe-token"].encode() + b"\r\n\r\n")
        assert s.recv(1000) == b"HTTP/1.1 100 Continue\r\n\r\n"
        s.sendall(b"{}")
        assert read_all(s).startswith(b"HTTP/1.1 201 ")


# ---- Rooms ----


def test_room():
    with Relay() as r:
        keyed = lambda ssrc: description(ssrc, **{"media-keys": [MEDIA_KEY]})
        ann, bob = (r.token(sub=name, publish=["room/" + name], subscribe=["room/*"]) for name in ("ann", "bob"))
        assert r.publish("room/ann", ann, body=keyed(1)).status == 201
        reply = r.subscribe("room/*", bob, body={"instant-start": True})
        assert reply.status == 201
        d = reply.json()
        assert d["streams"] == [
            {"stream": "room/ann", "publisher": "live", "sdp": SDP % 1, "media-keys": [MEDIA_KEY]}]
        assert d["publisher"] == "none" and "sdp" not in d and "media-keys" not in d
        assert r.publish("room/bob", bob, body=keyed(1)).problem() == "ssrc-in-use"
        assert r.publish("room/bob", bob, body=keyed(2)).status == 201
        names = lambda reply: [s["stream"] for s in reply.json()["streams"]]
        assert names(r.request("GET", reply.fields["location"], bob)) == ["room/ann"], "not one's own"
        assert names(r.subscribe("room/*")) == ["room/ann", "room/bob"]
        assert names(r.subscribe("room/**", body={"exclude": "room/ann"})) == ["room/bob"]
        assert names(r.subscribe("*/bob")) == ["room/bob"]
        assert r.subscribe("room/**", bob).problem() == "not-permitted", "the token covers less"
        assert r.subscribe("room/*", r.token(subscribe=["room/ann"])).problem() == "not-permitted"
        assert r.subscribe("**/bob").problem() == "stream-name-invalid"
        assert r.publish("room/*", r.token(publish=["**"])).problem() == "stream-name-invalid"
        assert r.subscribe("room/*", bob, body={"exclude": "a b"}).problem() == "body-invalid"
        assert r.subscribe("room/*", bob, body={"exclude": 1}).problem() == "body-invalid"


# ---- Open relays ----


def test_open_relay():
    with Relay("--open") as r:
        assert "publish-token" not in r.values
        d = r.publish("a")
        assert d.status == 201
        assert r.request("GET", d.fields["location"]).status == 200, "whoever knows the id owns it"
        assert r.publish("a").problem() == "stream-busy"
        assert r.publish("a", query="?takeover=true").status == 201
        assert r.request("GET", "/").status == 200
        listed = r.request("GET", "/v1/sessions").json()["sessions"]
        assert all(len(s["session"]) == 8 for s in listed)
        assert r.request("GET", "/v1/sessions", fields={"Forwarded": "for=x"}).status == 403
        assert r.request("GET", "/v1/streams", fields={"Via": "1.1 proxy"}).status == 403


def test_open_is_for_this_machine_unless_told():
    text = refused("--open", listen=("0.0.0.0:0",))
    assert "--open=anyone" in text
    with Relay("--open=anyone", listen=("0.0.0.0:0",)) as r:
        assert r.publish("a").status == 201


if __name__ == "__main__":
    run(dict(globals()))
