# natrelay
# SPDX-License-Identifier: LGPL-2.1-or-later

"""Who may do what, over the relay's real HTTPS: key sets from files and from a web server, static tokens, time-limited
credentials, a callback that decides; and that what is taken back ends sessions that live, with the reason."""

import base64
import functools
import hashlib
import hmac
import json
import os
import re
import signal
import socket
import subprocess
import tempfile
import threading
import time
import zlib

from relay import Relay, Stun, base64url, description, refused, run, wait_until
from web import Judge, Web

EXPIRED, REVOKED = 6, 7


def openssl(*args, stdin=None):
    return subprocess.run(["openssl", *args], input=stdin, check=True, capture_output=True).stdout


KEYS = tempfile.TemporaryDirectory()


class Issuer:
    """An RSA key, as a JSON Web Key and to sign with."""

    def __init__(self, kid):
        self.kid = kid
        self.path = os.path.join(KEYS.name, kid + ".pem")
        openssl("genrsa", "-out", self.path, "2048")
        modulus = openssl("rsa", "-in", self.path, "-noout", "-modulus").decode().partition("=")[2]
        self.jwk = {"kty": "RSA", "kid": kid, "use": "sig", "alg": "RS256",
                    "n": base64url(bytes.fromhex(modulus.strip())), "e": "AQAB"}

    def token(self, **claims):
        header = {"alg": "RS256", "kid": self.kid}
        text = ".".join(base64url(json.dumps(part).encode()) for part in (header, claims))
        signature = openssl("dgst", "-sha256", "-sign", self.path, stdin=text.encode())
        return text + "." + base64url(signature)


@functools.lru_cache(None)
def issuer(kid):
    return Issuer(kid)


def stranger(r):
    """A token of a key that nobody here knows."""
    return r.token(header={"alg": "HS256", "kid": "unheard-of"}, publish=["**"])


def key_set(*issuers):
    return json.dumps({"keys": [i.jwk for i in issuers]})


def reload(r):
    before = sum("read anew" in line for line in r.log)
    r.process.send_signal(signal.SIGHUP)
    wait_until(lambda: sum("read anew" in line for line in r.log) > before)


def live(r, reply):
    """A client of the session, with a mapping."""
    assert reply.status == 201, (reply.status, reply.body)
    client = Stun(r, reply.json())
    assert client.bind()["error"] == 0
    return client


def ends(client, reason):
    """The client hears of the end, and why."""
    answer = {}

    def over():
        answer.update(client.bind())
        return answer["error"] == 403

    wait_until(over)
    assert answer["reason"] == reason, answer
    client.socket.close()


def goes_on(client):
    answer = client.bind()
    assert answer["error"] == 0, answer


def config(directory, **keys):
    path = os.path.join(directory, "relay.conf")
    with open(path, "w") as f:
        f.write("[server]\n" + "".join("%s=%s\n" % (k.replace("_", "-"), v) for k, v in keys.items()))
    return path


def says(r, *words):
    """One line of the log has all of them, at the latest when it is read."""
    wait_until(lambda: any(all(word in line for word in words) for line in list(r.log)))


def audited(r, verdict, *words):
    says(r, "access " + verdict + ":", *words)


def no_secret_in_log(r, *secrets):
    for line in r.log:
        assert "eyJ" not in line, line
        assert not any(secret in line for secret in secrets), line


# ---- Key sets ----


def test_key_set_of_a_file():
    with tempfile.TemporaryDirectory() as d:
        path = os.path.join(d, "keys.json")
        one = issuer("one")
        secret = b"0123456789abcdef0123456789abcdef"
        oct_key = {"kty": "oct", "kid": "shared", "k": base64url(secret)}

        def write(*keys):
            with open(path, "w") as f:
                json.dump({"keys": list(keys)}, f)

        write(one.jwk, oct_key, {"kty": "EC", "crv": "P-521", "x": "AA", "y": "AA"})
        with Relay("--jwks", path) as r:
            says(r, "1 keys of %s are of kinds" % path)
            shared = {"header": {"alg": "HS256", "kid": "shared"}, "key": secret}
            first = live(r, r.publish("a", one.token(sub="cam", publish=["a"])))
            second = live(r, r.subscribe("a", r.token(subscribe=["a"], **shared)))
            # the public key's own numbers are no secret of HS256
            for known in (one.jwk["n"].encode(), base64.urlsafe_b64decode(one.jwk["n"] + "==")):
                forged = r.token(header={"alg": "HS256", "kid": "one"}, key=known, publish=["**"], admin=True)
                assert r.publish("a", forged).problem() == "token-invalid"
            assert r.publish("b", one.token(publish=["a"])).problem() == "not-permitted"
            write(oct_key)
            reload(r)
            ends(first, REVOKED)
            goes_on(second)
            second.socket.close()
            assert r.publish("a", one.token(publish=["a"])).problem() == "token-invalid"
            with open(path, "w") as f:
                f.write("rubbish")
            r.process.send_signal(signal.SIGHUP)
            says(r, "stay as they were", path)
            assert r.subscribe("a", r.token(subscribe=["a"], **shared)).status == 201


def test_key_set_of_a_url():
    one, two = issuer("one"), issuer("two")
    state = {"answer": (200, {"Cache-Control": "max-age=3600"}, key_set(one))}
    with Web(lambda path, body: state["answer"]) as web:
        with Relay(jwks=web.url + "/keys?secret=1", jwks_refresh_min=1) as r:
            first = live(r, r.publish("a", one.token(publish=["a"])))
            state["answer"] = (200, {}, key_set(one, two))
            # who has a key that is new waits for it, at most a second's limit later
            wait_until(lambda: r.publish("b", two.token(publish=["b"])).status == 201)
            goes_on(first)
            # the issuer is gone: what it said last holds
            state["answer"] = (500, {}, "")
            wait_until(lambda: r.publish("c", stranger(r)).status == 401
                       and any("The last one stays in force" in line for line in r.log))
            assert r.publish("c", two.token(publish=["c"])).status == 201
            # and is back, without the first key
            state["answer"] = (200, {}, key_set(two))
            wait_until(lambda: r.publish("d", stranger(r)).status == 401
                       and any("1 sessions ended" in line for line in r.log))
            ends(first, REVOKED)
            says(r, "the key set at %s/keys is here" % web.url)
            no_secret_in_log(r, "secret=1")


def test_key_set_is_asked_for_seldom_whoever_asks():
    with tempfile.TemporaryDirectory() as d:
        one = issuer("one")
        with Web(lambda path, body: (200, {}, key_set(one))) as web:
            with Relay(jwks=web.url, jwks_refresh_min=600, jwks_refresh_max=600) as r:
                assert r.publish("a", one.token(publish=["a"])).status == 201
                for i in range(30):
                    stranger = r.token(header={"alg": "HS256", "kid": "k%d" % i}, publish=["**"])
                    assert r.publish("a", stranger).problem() == "token-invalid"
                assert web.count() == 1, web.requests
                assert web.requests[0][0] == "GET" and "Authorization" not in web.requests[0][2]


def test_key_set_that_never_came():
    one = issuer("one")
    odd = {"/none": (404, {}, ""), "/page": (200, {}, "<html>"), "/empty": (200, {}, '{"keys":[]}'),
           "/long": (200, {}, " " * 70000), "/moved": (302, {"Location": "/elsewhere"}, "")}
    answers = dict(odd)
    with Web(lambda path, body: answers[path]) as web:
        with Relay(jwks=";".join(web.url + path for path in odd), jwks_refresh_min=1) as r:
            reply = r.publish("a", one.token(publish=["a"]))
            assert reply.problem() == "keys-missing" and "retry-after" in reply.fields
            assert r.publish("b").status == 201, "the relay's own key is here"
            for path in odd:
                says(r, web.url + path + " cannot be had", "No token of its keys is taken")
            for path in odd:
                answers[path] = (200, {}, key_set(one))
            wait_until(lambda: r.publish("a", one.token(publish=["a"])).status == 201)
            assert not any(path == "/elsewhere" for _, path, _, _ in web.requests)
    for url in ("http://192.0.2.1/keys", "ftp://127.0.0.1/keys", "https://"):
        assert "jwks must be an https:// URL" in refused("--jwks", url)


def test_who_came_by_a_key_set_outlives_a_restart_without_the_issuer():
    with tempfile.TemporaryDirectory() as d:
        one, two = issuer("one"), issuer("two")
        state = {"answer": (200, {}, key_set(one))}
        with Web(lambda path, body: state["answer"]) as web:
            with Relay(jwks=web.url, jwks_refresh_min=1) as r:
                client = live(r, r.publish("a", one.token(publish=["a"])))
                port = r.port
                assert r.stop() == 0
                state["answer"] = (500, {}, "")
                with Relay(state=r.state, listen=("127.0.0.1:%d" % port,), jwks=web.url,
                           jwks_refresh_min=1) as again:
                    client.nonce = None
                    goes_on(client)
                    boss = again.token(admin=True)
                    wait_until(lambda: again.request("GET", "/v1/sessions", boss).json()["total"] == 1)
                    goes_on(client)
                    state["answer"] = (200, {}, key_set(two))
                    wait_until(lambda: again.publish("b", two.token(publish=["b"])).status == 201)
                    ends(client, REVOKED)


def test_an_issuer_withdraws_a_key_while_the_relay_is_down_and_another_issuer_too():
    one, two, other = issuer("one"), issuer("two"), issuer("other")
    answers = {"/here": (200, {}, key_set(one, two)), "/away": (200, {}, key_set(other))}
    with Web(lambda path, body: answers[path]) as web:
        keys = {"jwks": web.url + "/here;" + web.url + "/away", "jwks_refresh_min": 1}
        with Relay(**keys) as r:
            withdrawn, left, others = (live(r, r.publish(name, i.token(publish=[name])))
                                       for name, i in (("a", one), ("b", two), ("c", other)))
            port = r.port
            assert r.stop() == 0
            answers["/here"] = (200, {}, key_set(two))
            answers["/away"] = (500, {}, "")
            with Relay(state=r.state, listen=("127.0.0.1:%d" % port,), **keys):
                for client in (withdrawn, left, others):
                    client.nonce = None
                ends(withdrawn, REVOKED)
                goes_on(left)
                goes_on(others)


def test_key_set_that_comes_later_than_another():
    """Whoever waits for a new key waits for every set that is on its way, also when that way begins anew."""
    one, two, three, four = (issuer(kid) for kid in ("one", "two", "three", "four"))
    late, gate = [two], threading.Event()
    gate.set()

    def answer(path, body):
        if path == "/late":
            gate.wait()
        return 200, {}, key_set(*(late if path == "/late" else [one]))

    def asked():
        with web.lock:
            return sum(path == "/late" for _, path, _, _ in web.requests)

    def publish(stream, who):
        """Its answer is here when the thread has ended."""
        before, token = asked(), who.token(publish=["**"])
        thread = threading.Thread(target=lambda: replies.append(r.publish(stream, token)))
        thread.start()
        wait_until(lambda: asked() > before)
        return thread

    replies = []
    with Web(answer) as web, Judge(lambda q: "token" not in q) as judge:
        with Relay(jwks=web.url + "/soon;" + web.url + "/late", jwks_refresh_min=1, access_callback=judge.url,
                   access_callback_tokens="true", access_timeout=30000) as r:
            for who in (one, two):
                wait_until(lambda: r.publish(who.kid, who.token(publish=["**"])).status == 201)
            for who, reloads in ((three, False), (four, True)):
                time.sleep(1)  # jwks-refresh-min
                gate.clear()
                late.append(who)
                thread = publish(who.kid, who)
                if reloads:
                    before = asked()
                    reload(r)
                    wait_until(lambda: asked() > before)
                thread.join(0.5)  # the other set is here meanwhile
                assert thread.is_alive(), replies
                gate.set()
                thread.join()
                assert replies.pop().status == 201, who.kid
            assert not any("token" in q for q in judge.bodies()), judge.bodies()


def test_key_set_over_https():
    with tempfile.TemporaryDirectory() as d:
        one = issuer("one")
        key, certificate = os.path.join(d, "k.pem"), os.path.join(d, "c.pem")
        openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                "-keyout", key, "-out", certificate, "-days", "3", "-subj", "/CN=localhost",
                "-addext", "subjectAltName=DNS:localhost")
        with Web(lambda path, body: (200, {}, key_set(one)), (certificate, key)) as web:
            with Relay(jwks=web.url, access_ca=certificate) as r:
                assert r.publish("a", one.token(publish=["a"])).status == 201
            with Relay(jwks=web.url) as r:
                assert r.publish("a", one.token(publish=["a"])).problem() == "keys-missing"
                says(r, "cannot be had")
        assert "/none.pem" in refused("--access-callback", web.url, access_ca="/none.pem")


# ---- Static tokens ----


def tool(*args):
    return subprocess.run([os.environ["NATRELAY_TOKEN"], *args], check=True, capture_output=True, text=True).stdout


def test_static_tokens():
    with tempfile.TemporaryDirectory() as d:
        path = os.path.join(d, "static-tokens")
        door = tool("static", "--file", path, "--publish", "door", "--subject", "camera-1").strip()
        guest = tool("static", "--file", path, "--subscribe", "**", "--expires", "12h").strip()
        assert os.stat(path).st_mode & 0o777 == 0o600
        with open(path) as f:
            lines = f.read().splitlines()
        assert len(lines) == 2 and not any(door in line or guest in line for line in lines)
        assert lines[0].split(" ", 1)[0] == hashlib.sha256(door.encode()).hexdigest()
        with Relay("--static-tokens", path) as r:
            publisher = live(r, r.publish("door", door))
            watcher = live(r, r.subscribe("door", guest))
            assert r.publish("yard", door).problem() == "not-permitted"
            assert r.publish("door", guest).problem() == "not-permitted"
            assert r.publish("door", door[:-1] + ("A" if door[-1] != "A" else "B")).problem() == "token-invalid"
            assert r.publish("door", lines[0].split()[0]).problem() == "token-invalid"
            # one more is known from a SIGHUP on
            late = tool("static", "--file", path, "--list").strip()
            assert r.request("GET", "/v1/streams", late).problem() == "token-invalid"
            reload(r)
            assert r.request("GET", "/v1/streams", late).json()["total"] == 1
            # the first is taken out
            with open(path) as f:
                rest = f.read().splitlines()[1:]
            with open(path, "w") as f:
                f.write("\n".join(rest) + "\n")
            reload(r)
            ends(publisher, REVOKED)
            goes_on(watcher)
            watcher.socket.close()
            assert r.publish("door", door).problem() == "token-invalid"
            audited(r, "ended", "action=publish", "stream=door", 'who="camera-1"', "by=static-token")
            no_secret_in_log(r, door, guest, late)
            # a mistake changes nothing
            with open(path, "a") as f:
                f.write("rubbish\n")
            r.process.send_signal(signal.SIGHUP)
            says(r, "stay as they were", "line 3")
            assert r.subscribe("door", guest).status == 201
        assert "static-tokens" in refused("--static-tokens", path)


# ---- Time-limited credentials ----


def credential(secret, name, expires):
    username = "%d:%s" % (time.time() + expires, name)
    mac = hmac.new(secret, username.encode(), hashlib.sha256).digest()
    return username + ":" + base64.b64encode(mac).decode()


def test_time_limited_credentials():
    with tempfile.TemporaryDirectory() as d:
        path = os.path.join(d, "credentials.key")

        def write(secret):
            with open(path, "w") as f:
                f.write(secret.hex() + "\n")

        secret = os.urandom(32)
        write(secret)
        with Relay("--credential-secret", path, "--credential-publish", "cameras/{name}",
                   env={"NATRELAY_CREDENTIAL_SUBSCRIBE": "cameras/*"}) as r:
            def publish(stream, text, scheme="Basic"):
                word = base64.b64encode(text.encode()).decode()
                return r.request("POST", "/v1/streams/%s/publishers" % stream, body=description(zlib.crc32(
                    stream.encode())), fields={"Authorization": scheme + " " + word})

            good = credential(secret, "door", 60)
            client = live(r, publish("cameras/door", good))
            assert publish("cameras/door", good, "Bearer").status == 201
            assert publish("cameras/yard", good).problem() == "not-permitted"
            assert publish("cameras/door", credential(secret, "door", -60)).problem() == "token-expired"
            assert publish("cameras/door", credential(os.urandom(32), "door", 60)).problem() == "token-invalid"
            assert publish("cameras/door", "7" + good).problem() == "token-invalid"
            # the tool's are the same
            lines = dict(line.split("=", 1) for line in tool(
                "credential", "--secret", path, "--name", "ann", "--expires", "1h").splitlines())
            assert publish("cameras/ann", lines["username"] + ":" + lines["password"]).status == 201
            assert r.subscribe("cameras/*", lines["auth-token"]).status == 201
            client.socket.close()
            client = live(r, r.subscribe("cameras/door", lines["auth-token"]))
            write(os.urandom(32))
            reload(r)
            ends(client, REVOKED)
            no_secret_in_log(r, lines["password"], good.rpartition(":")[2])
        assert "but to nothing" in refused("--credential-secret", path)
        assert "need a credential-secret" in refused(credential_publish="a")
        assert "credential-publish" in refused("--credential-secret", path, credential_publish="{nam}")


def test_files_that_others_may_read_or_write_are_complained_of():
    with tempfile.TemporaryDirectory() as d:
        paths = {name: os.path.join(d, name) for name in ("site.key", "credentials.key", "list", "public.pem")}
        for name in ("site.key", "credentials.key"):
            with open(paths[name], "w") as f:
                f.write(os.urandom(32).hex())
        open(paths["list"], "w").close()
        ec = openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout")
        with open(paths["public.pem"], "wb") as f:
            f.write(openssl("ec", "-pubout", stdin=ec))

        def modes(*numbers):
            for path, mode in zip(paths.values(), numbers):
                os.chmod(path, mode)

        def complaints(r):
            return [line for line in list(r.log) if "on this machine may read" in line or "others may write" in line]

        modes(0o644, 0o604, 0o662, 0o666)
        with Relay("--token-key", paths["site.key"], "--token-key", paths["public.pem"], "--static-tokens", paths["list"],
                   "--credential-secret", paths["credentials.key"], "--credential-publish", "a") as r:
            for name, word in (("site.key", "read the secret"), ("credentials.key", "read the secret"),
                               ("list", "write into"), ("public.pem", "write into")):
                says(r, word + " " + paths[name])
            assert len(complaints(r)) == 4, complaints(r)
            modes(0o640, 0o600, 0o644, 0o644)
            reload(r)
            assert len(complaints(r)) == 4, complaints(r)


# ---- The callback ----


def test_callback_decides():
    with Judge(lambda q: q["stream"].startswith("good")) as judge:
        with Relay("--access-callback", judge.url + "/decide") as r:
            token = r.token(sub="cam", jti="4711", publish=["**"], subscribe=["**"])
            assert r.publish("good/a", token).status == 201
            assert judge.bodies() == [{
                "action": "publish", "stream": "good/a", "address": "127.0.0.1", "subject": "cam", "by": "key",
                "claims": {"sub": "cam", "jti": "4711", "publish": ["**"], "subscribe": ["**"]}}], judge.bodies()
            method, path, fields, body = judge.requests[0]
            assert (method, path) == ("POST", "/decide") and fields["Content-Type"] == "application/json"
            assert token not in body and "Authorization" not in fields
            reply = r.publish("bad/a", token)
            assert reply.problem() == "not-permitted" and "callback does not allow" in reply.json()["detail"]
            # both answers are kept
            assert r.publish("good/a", token).status == 201
            assert r.publish("bad/a", token).status == 403
            assert judge.count() == 2, judge.requests
            # what the token does not allow is not asked about
            assert r.publish("good/b", r.token(publish=["x"])).problem() == "not-permitted"
            assert r.publish("good/b", "rubbish").problem() == "token-invalid"
            assert judge.count() == 2
            assert r.subscribe("good/*", token).status == 201
            assert judge.bodies()[-1]["action"] == "subscribe" and judge.bodies()[-1]["stream"] == "good/*"
            audited(r, "refused", "action=publish", "stream=bad/a", 'who="cam"', "from=127.0.0.1:", "callback")
            no_secret_in_log(r, token)


def test_callback_gives_reasons_and_forbids_by_status():
    with Judge(lambda q: False if q["stream"] == "a" else (403, {}, ""), reason='not "yet"\n<b>') as judge:
        with Relay("--access-callback", judge.url) as r:
            reply = r.publish("a")
            assert reply.problem() == "not-permitted" and reply.json()["detail"] == 'not "yet"\n<b>'
            assert r.publish("b").problem() == "not-permitted"
            audited(r, "refused", 'why="not \\"yet\\"?<b>"')


def test_callback_that_fails_lets_nobody_in():
    answers = [(500, {}, ""), (200, {}, ""), (200, {}, "yes"), (200, {}, "{}"), (200, {}, '{"allow":"yes"}'),
               (200, {}, '{"allow":1}'), (200, {}, '{"allow":true,"cache-s":"x"}'), (201, {}, '{"allow":true}'),
               (302, {"Location": "/"}, ""), (200, {}, '{"allow":true,"x":"%s"}' % ("y" * 20000))]
    with Judge(lambda q: answers[int(q["stream"])]) as judge:
        with Relay("--access-callback", judge.url) as r:
            for i in range(len(answers)):
                reply = r.publish(str(i))
                assert reply.problem() == "callback-failed" and "retry-after" in reply.fields, i
            says(r, "access callback did not decide")
            url = judge.url
    with Relay("--access-callback", url) as r:
        assert r.publish("a").problem() == "callback-failed", "nobody listens there"
    for args, words in ((("--access-callback", "http://192.0.2.1/"), "https:// URL"),):
        assert words in refused(*args)
    assert "needs an access-callback" in refused(access_callback_tokens="true")


def test_callback_holds_up_nobody_else():
    gate = threading.Event()
    with Judge(lambda q: True if gate.is_set() or q["stream"] == "quick" else None) as judge:
        with Relay("--access-callback", judge.url, access_timeout=30000) as r:
            token = r.token(sub="cam", publish=["**"])
            replies = []
            slow = [threading.Thread(target=lambda i=i: replies.append(r.publish("slow/%d" % i, token)))
                    for i in range(8)]
            for thread in slow:
                thread.start()
            wait_until(lambda: judge.count() == 8)
            for _ in range(5):
                assert r.request("GET", "/healthz").status == 200
            assert r.publish("quick", token).status == 201
            # one that hangs up while it waits
            with r.tls() as s:
                s.sendall(b"POST /v1/streams/gone/subscribers HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer "
                          + r.token(subscribe=["**"]).encode() + b"\r\nContent-Length: 0\r\n\r\n")
                wait_until(lambda: judge.count() == 10)
            assert replies == []
            gate.set()
            for thread in slow:
                thread.join()
            assert [reply.status for reply in replies] == [201] * 8
            assert judge.count() == 10, "each was asked once"


def test_callback_has_its_time():
    with Judge(lambda q: None if q["stream"] == "slow" else True) as judge:
        with Relay("--access-callback", judge.url, access_timeout=300) as r:
            began = time.monotonic()
            assert r.publish("slow").problem() == "callback-failed"
            assert time.monotonic() - began > 0.25
            says(r, "no answer within 300 ms")
            assert r.publish("slow").problem() == "callback-failed"
            judge.allow = lambda q: True
            # it is asked again, soon
            wait_until(lambda: r.publish("slow").status == 201)


def test_callback_ends_sessions_later():
    with Judge(lambda q: True, **{"cache-s": 1}) as judge:
        with Relay("--access-callback", judge.url, access_callback_grace=1) as r:
            clients = {name: live(r, r.publish(name, r.token(sub=name, publish=["**"]))) for name in "abc"}
            wait_until(lambda: sum("session" in q for q in judge.bodies()) >= 3)
            question = [q for q in judge.bodies() if "session" in q][0]
            assert set(question) == {"action", "stream", "address", "session", "subject", "by"}, question
            for client in clients.values():
                goes_on(client)
            # no answer at all is a no after the grace, and of the kind that lets a client ask anew
            judge.allow = lambda q: {"a": False, "b": (500, {}, "")}.get(q["stream"], True)
            ends(clients["a"], REVOKED)
            audited(r, "ended", "action=publish", "stream=a", "does not allow it any more")
            ends(clients["b"], EXPIRED)
            goes_on(clients["c"])
            clients["c"].socket.close()


def test_callback_ends_who_always_has_a_new_address():
    with Judge(lambda q: True, **{"cache-s": 1}) as judge:
        with Relay("--access-callback", judge.url) as r:
            client = live(r, r.publish("a"))
            relay = client.socket.getpeername()
            asked = []

            def move_and_deny(q):
                if "session" not in q:
                    return True
                asked.append(q["address"])
                with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as moved:
                    moved.settimeout(20)
                    moved.bind(("127.0.1.%d" % (len(asked) % 200 + 1), 0))
                    moved.connect(relay)
                    client.socket, old = moved, client.socket
                    client.nonce = None
                    client.bind()
                    client.socket = old
                return False

            wait_until(lambda: any("session" in q for q in judge.bodies()))
            judge.allow = move_and_deny
            audited(r, "ended", "stream=a", "does not allow it any more")
            assert len(asked) <= 4, asked
            client.nonce = None
            ends(client, REVOKED)


def test_callback_has_places_for_all_whatever_strangers_ask():
    gate = threading.Event()
    with Judge(lambda q: True if gate.is_set() or "token" not in q else None, **{"cache-s": 1}) as judge:
        with Relay("--access-callback", judge.url, access_callback_tokens="true", access_timeout=8000) as r:
            client = live(r, r.publish("a"))
            replies = []
            flood = [threading.Thread(target=lambda i=i: replies.append(r.request("GET", "/v1/streams", "x%d" % i)))
                     for i in range(40)]
            for thread in flood:
                thread.start()
            # the eight that are asked about wait; the others hear at once that there is no room
            wait_until(lambda: len(replies) == 32)
            assert all(reply.problem() == "callback-failed" for reply in replies), [x.status for x in replies]
            before = sum("session" in q for q in judge.bodies())
            assert r.publish("b").status == 201
            wait_until(lambda: sum("session" in q for q in judge.bodies()) > before)
            goes_on(client)
            client.socket.close()
            gate.set()
            for thread in flood:
                thread.join()
            assert sum("token" in q for q in judge.bodies()) == 8


def test_callback_is_not_asked_about_a_new_key_of_our_issuer():
    first, second = issuer("one"), issuer("two")
    keys = [first]
    with Judge(lambda q: "token" not in q) as judge, Web(lambda path, body: (200, {}, key_set(*keys))) as web:
        with Relay("--jwks", web.url, access_callback=judge.url, access_callback_tokens="true",
                   jwks_refresh_min=1) as r:
            wait_until(lambda: r.publish("a", first.token(sub="x", publish=["**"])).status == 201)
            keys.append(second)
            time.sleep(1)  # jwks-refresh-min
            assert r.publish("b", second.token(sub="y", publish=["**"])).status == 201
            assert not any("eyJ" in json.dumps(q) for q in judge.bodies()), judge.bodies()


def test_callback_judges_tokens_that_the_relay_does_not_know():
    people = {"tick": {"subject": "ann", "allow": True}, "tock": {"allow": True, "cache-s": 1}, "none": {"allow": False}}

    def answer(path, body):
        q = json.loads(body)
        who = people.get(q.get("token"), {"allow": "session" in q})
        return 200, {}, json.dumps(who if q.get("stream") != "private" else {"allow": False})

    with tempfile.TemporaryDirectory() as d, Web(answer) as web:
        path = config(d, access_callback=web.url, access_callback_tokens="true")
        with Relay("--config", path) as r:
            client = live(r, r.publish("a", "tick"))
            assert web.bodies()[0] == {
                "action": "publish", "stream": "a", "address": "127.0.0.1", "token": "tick"}, web.bodies()
            assert r.publish("private", "tick").problem() == "not-permitted"
            assert r.publish("a", "none").problem() == "not-permitted"
            assert r.publish("a", "stranger").problem() == "not-permitted"
            # what no token can be is none
            asked = web.count()
            assert r.publish("a", "no\u00e9l").problem() == "token-invalid"
            assert r.publish("a", "a b").problem() == "token-invalid"
            assert web.count() == asked
            reply = r.subscribe("a", "tock")
            location = reply.fields["location"]
            assert r.request("GET", location, "tock").status == 200
            assert r.request("GET", location, "tick").problem() == "not-permitted"
            assert r.request("GET", location, "stranger").problem() == "not-permitted"
            assert r.request("PUT", location + "/token", "tock", body={}).status == 200
            assert r.request("GET", "/v1/sessions", "tick").json()["total"] == 2
            # our own tokens do not leave the house
            assert r.publish("b").status in (201, 403)
            assert not any("eyJ" in json.dumps(q) for q in web.bodies())
            audited(r, "granted", "action=publish", "stream=a", 'who="ann"', "by=callback")
            config(d, access_callback=web.url)
            reload(r)
            ends(client, REVOKED)
            assert r.publish("a", "tick").problem() == "token-invalid"


def test_callback_of_an_open_relay():
    with Judge(lambda q: q["stream"] == "a") as judge:
        with Relay("--open", "--access-callback", judge.url) as r:
            assert r.publish("a").status == 201
            assert r.publish("b").problem() == "not-permitted"
            assert judge.bodies()[0] == {"action": "publish", "stream": "a", "address": "127.0.0.1"}


# ---- What is taken back while nobody looks ----


def test_a_key_that_was_withdrawn_while_the_relay_was_down():
    with tempfile.TemporaryDirectory() as d:
        path = os.path.join(d, "site.key")

        def write(secret):
            with open(path, "w") as f:
                f.write(secret.hex())

        write(b"\x11" * 32)
        with Relay("--token-key", path) as r:
            token = r.token(key=b"\x11" * 32, header={"alg": "HS256", "kid": "site"}, sub="x", publish=["a"],
                            subscribe=["a"])
            clients = [live(r, r.publish("a", token)), live(r, r.subscribe("a", token))]
            own = live(r, r.subscribe("a"))
            port = r.port
            assert r.stop() == 0
            write(b"\x22" * 32)
            with Relay("--token-key", path, state=r.state, listen=("127.0.0.1:%d" % port,)) as again:
                for client in clients:
                    client.nonce = None
                    ends(client, REVOKED)
                own.nonce = None
                goes_on(own)
                own.socket.close()
                audited(again, "ended", "stream=a", 'who="x"', "by=key", "it came back")
                assert again.publish("a").status == 201, "the place is free"


# ---- The log ----


def test_one_line_for_each_who_was_let_in_or_kept_out():
    with Relay() as r:
        evil = 'x" who="root\x1b[31m\nnatrelay-server: access'
        token = r.token(sub=evil, jti="id-1", publish=["a"], expires=3600)
        reply = r.publish("a", token)
        assert r.publish("b", token).status == 403
        assert r.publish("a//b", token).status == 400, "no matter of access"
        assert r.publish("a", "nonsense").status == 401
        assert r.request("GET", "/v1/streams", token).status == 403
        assert r.request("PUT", reply.fields["location"] + "/token", token, body={}).status == 200
        assert r.request("DELETE", reply.fields["location"], r.token(sub="boss", admin=True)).status == 204
        wait_until(lambda: any("action=end" in line for line in r.log))
        lines = [line for line in r.log if "access " in line]
        assert len(lines) == 6, lines
        pattern = r'natrelay-server: access granted: action=publish stream=a who="x\\" who=\\"root\?\[31m\?natrelay-server: access" ' \
                  r'by=key id="id-1" from=127\.0\.0\.1:\d+ session=[\w-]{8}$'
        assert re.match(pattern, lines[0]), lines[0]
        assert re.match(r'.* access refused: action=publish stream=b .*why="The token does not permit publishing \\"b\\";', lines[1]), lines[1]
        assert re.match(r'.* access refused: action=publish stream=a from=\S+ why="The access token', lines[2]), lines[2]
        assert "action=list" in lines[3] and "action=renew" in lines[4], lines
        assert 'action=end stream=a who="boss"' in lines[5], lines[5]
        assert reply.json()["session"] not in "".join(r.log)
        no_secret_in_log(r, token, "nonsense")
    with Relay(audit=0) as r:
        assert r.publish("a").status == 201 and r.publish("a", "nonsense").status == 401
        assert not any("access " in line for line in r.log)


def test_a_flood_of_strangers_is_summed_up():
    with Relay() as r:
        for _ in range(25):
            assert r.publish("a", "nonsense").status == 401
        for i in range(15):
            assert r.publish("s%d" % i).status == 201
        wait_until(lambda: sum("access granted" in line for line in r.log) == 15)
        assert sum("access refused" in line for line in r.log) < 25


if __name__ == "__main__":
    run(dict(globals()))
