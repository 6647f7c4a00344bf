# natrelay
# SPDX-License-Identifier: LGPL-2.1-or-later

"""Attacks with access tokens, each a test of its own name, against the real relay; docs/SECURITY.md lists them with
what comes of them. The little that a token's issuer and its holder may do stands beside each, so that a relay which
refuses everything passes none of them."""

import base64
import binascii
import contextlib
import hashlib
import hmac
import json
import os
import socket
import subprocess
import tempfile
import time

from keptalive import KeptAlive
from relay import Relay, base64url, description, run


def signed(header, claims, key):
    """A JWT with any header at all, as text or as an object, under HMAC with these bytes."""
    parts = [part if isinstance(part, (bytes, str)) else json.dumps(part) for part in (header, claims)]
    text = ".".join(base64url(p if isinstance(p, bytes) else p.encode()) for p in parts)
    return text + "." + base64url(hmac.new(key, text.encode(), hashlib.sha256).digest())


def own_key(relay):
    with open(os.path.join(relay.state, "token.key")) as f:
        return binascii.unhexlify(f.read().strip())


def refused(relay, token, stream="a", problem="token-invalid"):
    if not hasattr(relay, "asker"):
        relay.asker = KeptAlive(relay)
    reply = relay.asker.publish(stream, token)
    assert reply.problem() == problem, (token, reply.raw)
    # It is not quoted back, nor kept in the log.
    assert token[:24].encode() not in reply.raw or len(token) < 24
    assert not any(len(token) >= 24 and token[:24] in line for line in relay.log)


def ec_key(folder):
    """(private, public) files of a P-256 key that is called "site"."""
    private, public = os.path.join(folder, "private.pem"), os.path.join(folder, "site.pem")
    for command in (
        ["openssl", "ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", private],
        ["openssl", "ec", "-in", private, "-pubout", "-out", public],
    ):
        subprocess.run(command, check=True, capture_output=True)
    return private, public


def es256(private, header, claims):
    text = base64url(json.dumps(header).encode()) + "." + base64url(json.dumps(claims).encode())
    der = subprocess.run(
        ["openssl", "dgst", "-sha256", "-sign", private], input=text.encode(), check=True, capture_output=True
    ).stdout
    numbers, at = b"", 2
    for _ in range(2):  # SEQUENCE of two INTEGERs
        size = der[at + 1]
        numbers += der[at + 2 : at + 2 + size].lstrip(b"\0").rjust(32, b"\0")
        at += 2 + size
    return text + "." + base64url(numbers)


# ---- The header ----


def test_algorithm_none():
    with Relay() as r:
        claims = {"sub": "x", "publish": ["**"]}
        text = base64url(json.dumps(claims).encode())
        for name in ("none", "None", "NONE", "nOnE", "", "none\u0000", "HS256\u0000", "hs256", "HS384", "HS512", None, 0, ["HS256"]):
            header = base64url(json.dumps({"alg": name, "typ": "JWT"}).encode())
            for signature in ("", base64url(bytes(32))):
                refused(r, "%s.%s.%s" % (header, text, signature))
            refused(r, signed({"alg": name}, claims, own_key(r)))  # the right key, too
        refused(r, signed({"typ": "JWT"}, claims, own_key(r)))
        assert r.publish("a", signed({"alg": "HS256"}, claims, own_key(r))).status == 201


def test_algorithm_confusion():
    """A public key is public: as an HMAC's secret it makes no token."""
    claims = {"sub": "x", "publish": ["**"]}
    with tempfile.TemporaryDirectory() as folder:
        private, public = ec_key(folder)
        with open(public, "rb") as f:
            pem = f.read()
        der = base64.b64decode(b"".join(pem.splitlines()[1:-1]))
        with Relay("--token-key", public) as r:
            for secret in (pem, pem.strip(), pem.replace(b"\n", b"\r\n"), der, der[-65:], der[-64:]):
                for header in ({"alg": "HS256", "kid": "site"}, {"alg": "HS256"}):
                    refused(r, signed(header, claims, secret))
                    refused(r, signed(header, claims, secret[:32].ljust(32, b"\0")))
            # Nor the other way round: a token of the relay's own kind that says it were the site's.
            refused(r, signed({"alg": "ES256", "kid": "site"}, claims, own_key(r)))
            refused(r, signed({"alg": "EdDSA", "kid": "site"}, claims, own_key(r)))
            good = es256(private, {"alg": "ES256", "kid": "site"}, claims)
            assert r.publish("a", good).status == 201
            # r and s of zero, and what else fits any message where nobody looks.
            head = good.rpartition(".")[0]
            order = "ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551"
            for numbers in (bytes(64), bytes.fromhex(order) * 2, bytes(31) + b"\1" + bytes(32), b"\xff" * 64, b"\1" * 63, b""):
                refused(r, head + "." + base64url(numbers))


def test_key_id():
    """A key id is a name among those that the relay has: no path, no address, no part of one."""
    with tempfile.TemporaryDirectory() as folder, socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        listener.settimeout(0)
        here = "https://127.0.0.1:%d/keys" % listener.getsockname()[1]
        path = os.path.join(folder, "site.key")
        with open(path, "w") as f:
            f.write("11" * 32)
        claims = {"sub": "x", "publish": ["**"]}
        with Relay("--token-key", path) as r:
            known = b"\x11" * 32
            for kid in (
                "../" * 8 + "dev/null", "/dev/null", "/dev/zero", path, "./site", "site.key", "../site", "site/", "SITE",
                "site ", " site", "site\u0000", "site\n", "s*", "**", "", "token", "token.key", "other", "' OR '1'='1",
                "$(id)", "|id", "x" * 255, "x" * 256, "x" * 3000, here, None, 5, True, [], ["site"], {"kid": "site"},
            ):
                for key in (known, b"", bytes(32), own_key(r)):
                    if (kid, key) == ("site", known):
                        continue
                    refused(r, signed({"alg": "HS256", "kid": kid}, claims, key))
            # A key that the token brings along, or says where to fetch.
            brought = base64url(b"k" * 32)
            for more in (
                {"jwk": {"kty": "oct", "k": brought, "alg": "HS256", "kid": "site"}}, {"jku": here}, {"x5u": here},
                {"x5c": [brought]}, {"jku": "file://" + path}, {"crit": ["exp"]}, {"crit": []}, {"b64": False, "crit": ["b64"]},
            ):
                refused(r, signed(dict({"alg": "HS256", "kid": "site"}, **more), claims, b"k" * 32))
                refused(r, signed(dict({"alg": "HS256"}, **more), claims, b"k" * 32))
            with contextlib.suppress(BlockingIOError):
                raise AssertionError("it asked there: %r" % (listener.accept(),))
            assert r.publish("a", signed({"alg": "HS256", "kid": "site"}, claims, known)).status == 201


# ---- The text ----


def test_signature_bent():
    """Cut, longer, of another token, in another spelling of base64."""
    with Relay() as r:
        good = r.token(sub="x", publish=["a"])
        other = r.token(sub="x", publish=["b"])
        header, claims, signature = good.split(".")
        mine = base64url(json.dumps({"sub": "x", "publish": ["**"], "admin": True}).encode())
        alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
        last = alphabet.index(signature[-1])  # 43 characters, of whose last two bits mean nothing
        spelt = [signature[:-1] + alphabet[last ^ bit] for bit in (1, 2, 3)]
        for text in (
            "%s.%s.%s" % (header, mine, signature), "%s.%s.%s" % (header, claims, other.split(".")[2]),
            "%s.%s." % (header, claims), "%s.%s" % (header, claims), "%s.%s.%s" % (header, claims, signature[:-1]),
            "%s.%s.%s" % (header, claims, signature[:22]), good + ".", good + "." + signature, "." + good, good + "=",
            good + "A", "%s..%s" % (header, signature), ".%s.%s" % (claims, signature), "..", ".", good[:-4] + "+/==",
            good.replace("-", "+").replace("_", "/") + "=", good + "%00", good + "\\n",
            *("%s.%s.%s" % (header, claims, s) for s in spelt),
        ):
            if text != good:
                refused(r, text)
        for i in range(0, len(good), 7):  # any one character
            refused(r, good[:i] + ("A" if good[i] != "A" else "B") + good[i + 1 :])
        assert r.publish("a", good).status == 201


def test_token_in_another_place():
    """Only an Authorization field carries one: where else it stood it would be logged and sent along."""
    with Relay() as r:
        token = r.token(sub="x", publish=["a"])
        path, body = "/v1/streams/a/publishers", description()
        for query in ("?access_token=", "?token=", "?auth-token=", "?authorization=Bearer%20"):
            assert r.request("POST", path + query + token, body=body).problem() == "token-missing"
        for name, value in (
            ("Cookie", "token=" + token), ("X-Auth-Token", token), ("Proxy-Authorization", "Bearer " + token),
            ("Authorization", "Basic " + token), ("Authorization", token), ("Authorization", "Bearer"),
            ("X-Forwarded-User", "admin"), ("Sec-WebSocket-Protocol", "natrelay.v1, " + token),
        ):
            reply = r.request("POST", path, body=body, fields={name: value})
            assert reply.status == 401, (name, reply.raw)
        # Two of them: which one would it be?
        two = "".join("Authorization: Bearer %s\r\n" % t for t in ("x", token))
        assert r.raw(("GET /v1/streams HTTP/1.1\r\nHost: x\r\n%s\r\n" % two).encode()).status == 400
        assert r.publish("a", token).status == 201


# ---- The claims ----


def test_times():
    now = int(time.time())
    with Relay() as r:
        for bad, problem in (
            ({"exp": now - 31}, "token-expired"), ({"exp": 0}, "token-expired"), ({"exp": -1}, "token-expired"),
            ({"exp": -(2**53)}, "token-expired"), ({"nbf": now + 60}, "token-expired"), ({"nbf": 2**53}, "token-expired"),
            ({"exp": 2**53 + 1}, "token-invalid"), ({"nbf": -(2**63)}, "token-invalid"),
            ({"exp": now - 31.5}, "token-expired"), ({"exp": str(now + 60)}, "token-invalid"), ({"exp": ""}, "token-invalid"),
            ({"exp": True}, "token-invalid"), ({"exp": None}, "token-invalid"), ({"exp": [now + 60]}, "token-invalid"),
            ({"exp": {"$gt": 0}}, "token-invalid"), ({"exp": 10**18}, "token-invalid"), ({"exp": 10**400}, "token-invalid"),
            ({"nbf": "0"}, "token-invalid"), ({"nbf": None}, "token-invalid"), ({"nbf": -(10**19)}, "token-invalid"),
        ):
            refused(r, r.token(sub="x", publish=["a"], **bad), problem=problem)
        for text in ('"exp":1e99', '"exp":1E400', '"exp":NaN', '"exp":Infinity', '"exp":0x7fffffff', '"exp":+1'):
            claims = '{"sub":"x","publish":["a"],%s}' % text
            refused(r, signed({"alg": "HS256"}, claims, own_key(r)))
        assert r.publish("a", r.token(sub="x", publish=["a"], exp=now + 60, nbf=now - 60)).status == 201


def test_pattern_escapes():
    """What a pattern covers is told by whole segments of a name that was decoded once."""
    with Relay(max_posts_burst=10000) as r, KeptAlive(r) as asker:
        for pattern, inside, outside in (
            ("room/*", ("room/a", "room%2Fa"), (
                "room", "room/a/b", "room/a%2Fb", "rooma", "Room/a", "xroom/a", "room%252Fa", "other")),
            ("a", ("a", "%61"), ("aa", "A", "a/b", "a%2Fb", "b", "a.")),
            ("**", ("a", "a/b/c"), ()),
            ("a/**", ("a/b", "a/b/c"), ("b/a", "ab/c", "aa")),
            ("*", ("a", "b"), ("a/b", "a%2Fb")),
        ):
            token = r.token(sub="p", publish=[pattern])
            for name in inside:
                assert asker.publish(name, token).status == 201, (pattern, name)
            for name in outside:
                assert asker.publish(name, token).status in (400, 403), (pattern, name)
            # Names that are none, whatever the pattern.
            for name in ("room/..", "room/../b", "room/%2e%2e/b", "room/%2E%2E%2Fb", "room/.", "room//a", "room/a/", "room/*", "*"):
                assert asker.publish(name, token).status in (400, 403, 404), (pattern, name)
        # Patterns that are none: the token is refused, not read some other way.
        for pattern in ("room*", "*room", "**/a", "a/**/b", "a/***", "", "/", "/a", "a/", "a//b", "a?", "[a-z]", "a|b", ".*",
                        "..", "a/../b", "a b", "a\u0000", "a\n", "é", "x" * 300, 5, None, ["a"]):
            refused(r, r.token(sub="p", publish=[pattern]))
            refused(r, r.token(sub="p", publish=["a", pattern]))
        for claim in ("a", "**", {"a": 1}, True, 1, None):
            refused(r, r.token(sub="p", publish=claim))
        # A pattern that is asked for must be covered as one.
        narrow = r.token(sub="s", subscribe=["room/a", "room/b"])
        for wide in ("room/*", "room/**", "*/a", "**", "*"):
            assert r.subscribe(wide, narrow).problem() == "not-permitted", wide
        assert r.subscribe("room/*", r.token(sub="s", subscribe=["room/**"])).status == 201


def test_more_than_it_grants():
    with Relay() as r:
        publisher, watcher = r.token(sub="p", publish=["a"]), r.token(sub="w", subscribe=["a"])
        mine = r.publish("a", publisher)
        assert mine.status == 201
        yours = r.subscribe("a", watcher)
        assert yours.status == 201
        for method, path, token, body in (
            ("POST", "/v1/streams/a/publishers", watcher, description()),
            ("POST", "/v1/streams/a/subscribers", publisher, {}),
            ("GET", "/v1/streams", watcher, None),
            ("GET", "/v1/sessions", publisher, None),
            ("GET", mine.fields["location"], watcher, None),
            ("PUT", mine.fields["location"] + "/description", watcher, description(2)),
            ("PUT", mine.fields["location"] + "/token", watcher, {}),
            ("DELETE", mine.fields["location"], watcher, None),
            ("PUT", yours.fields["location"] + "/description", watcher, description(3)),
            ("DELETE", yours.fields["location"], publisher, None),
        ):
            reply = r.request(method, path, token, body)
            assert reply.problem() == "not-permitted", (method, path, reply.raw)
        # Rights are true, not something that is not false.
        for value in ("true", 1, "yes", [], {}, None):
            refused(r, r.token(sub="x", publish=["a"], admin=value))
            refused(r, r.token(sub="x", publish=["a"], takeover=value))
        stranger = r.token(sub="x", publish=["a"])
        assert r.publish("a", stranger, "?takeover=true").problem() == "stream-busy"
        assert r.request("GET", mine.fields["location"], publisher).json()["version"] == 1


def test_bombs_in_a_token():
    with Relay() as r:
        key = own_key(r)
        deep = '{"publish":["a"],"x":' + "[" * 17 + "]" * 17 + "}"
        for claims in (
            deep, "[" * 3000, '{"publish":["a"],"x":' + "9" * 1000 + "}", '{"publish":["a"],"x":"\\ud800"}',
            '{"publish":["a\\u0000"]}', '{"publish":["a"]}{"publish":["**"]}', '{"publish":["a"]} x', "null", "[]", '"a"',
            b'{"publish":["a"],"x":"\xff"}', b'{"publish":["a"]}\0', b"\xef\xbb\xbf{}",
            {"publish": ["a%d" % i for i in range(65)]}, {"sub": "x" * 256, "publish": ["a"]}, {"sub": 5, "publish": ["a"]},
        ):
            refused(r, signed({"alg": "HS256"}, claims, key))
        for header in (deep, "[" * 3000, '{"alg":"HS256","x":' + "9" * 1000 + "}", b'{"alg":"HS256"}\0', "null", "[]"):
            refused(r, signed(header, {"publish": ["a"]}, key))
        refused(r, signed({"alg": "HS256"}, {"publish": ["a"], "x": "x" * 3500}, key))
        too_long = signed({"alg": "HS256"}, {"publish": ["a"], "x": "x" * 9000}, key)
        assert r.publish("a", too_long).status == 431
        assert r.publish("a", signed({"alg": "HS256"}, {"publish": ["a"], "x": "x" * 100}, key)).status == 201


if __name__ == "__main__":
    run(dict(globals()))
