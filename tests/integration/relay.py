# natrelay
# SPDX-License-Identifier: LGPL-2.1-or-later

"""A real natrelay-server for tests, and what a client needs to talk to it: HTTPS as raw bytes, access
tokens, STUN. Standard library only."""

import base64
import binascii
import hashlib
import hmac
import json
import os
import re
import secrets
import shutil
import signal
import socket
import ssl
import struct
import subprocess
import sys
import tempfile
import threading
import time
import zlib

SDP = (
    "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=x\r\nt=0 0\r\nm=video 9 RTP/AVPF 96\r\n"
    "a=rtpmap:96 H264/90000\r\na=ssrc:%u cname:test\r\n"
)
MEDIA_KEY = {"kid": 47802, "cipher-suite": "AES_128_GCM_SHA256_128", "key": "A" * 43}


def description(ssrc=1234, **more):
    return dict({"sdp": SDP % ssrc}, **more)


def server_program():
    return os.environ["NATRELAY_SERVER"]


def base64url(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


class Reply:
    """Status, header fields (names in lower case) and body; text() and json() of it."""

    def __init__(self, data):
        head, _, self.body = data.partition(b"\r\n\r\n")
        lines = head.decode("latin-1").split("\r\n")
        self.raw = data
        self.status = int(lines[0].split()[1]) if len(lines[0].split()) > 1 else 0
        self.fields = {}
        for line in lines[1:]:
            name, _, value = line.partition(":")
            self.fields[name.lower()] = value.strip()

    def json(self):
        return json.loads(self.body)

    def problem(self):
        """The last part of the problem's type, after a look at the whole document."""
        document = self.json()
        assert self.fields["content-type"] == "application/problem+json", self.fields
        assert document["status"] == self.status, document
        assert document["title"] and document["detail"], document
        base, _, name = document["type"].rpartition("/")
        assert base == "https://natrelay.example.org/problems", document
        return name


def tls_context(version=None):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if version is not None:
        context.minimum_version = context.maximum_version = version
    return context


class Relay:
    """Starts in a state directory of its own (or a given one) on a free port of 127.0.0.1."""

    def __init__(
        self, *args, state=None, listen=("127.0.0.1:0",), env=None, wait=True, stderr=None, **keys
    ):
        self.own_state = state is None
        self.state = state or tempfile.mkdtemp(prefix="natrelay-")
        self.log = []
        self.values = {}
        self.lines = []
        self.ports = []
        command = [server_program(), "--state-dir", self.state]
        for address in listen:
            command += ["--listen", address]
        if keys:
            path = os.path.join(self.state, "test.conf")
            with open(path, "w") as f:
                f.write("[server]\n")
                for key, value in keys.items():
                    f.write("%s=%s\n" % (key.replace("_", "-"), value))
            command += ["--config", path]
        self.process = subprocess.Popen(
            command + list(args),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE if stderr is None else stderr,
            text=True,
            # Else whoever is not root may not see its descriptors and memory.
            env=dict(os.environ, **dict({"NATRELAY_CORE_DUMPS": "true"}, **(env or {}))),
        )
        self.reader = threading.Thread(target=self._read_log, daemon=True)
        self.reader.start()
        if wait:
            self._read_lines()

    def _read_log(self):
        for line in self.process.stderr or ():
            self.log.append(line.rstrip("\n"))

    def _read_lines(self):
        for line in self.process.stdout:
            line = line.rstrip("\n")
            self.lines.append(line)
            if line == "ready":
                break
            name, equals, value = line.partition("=")
            if name == "listening":
                self.ports.append(int(value.rpartition(":")[2]))
            elif equals and re.fullmatch("[a-z-]+", name):
                self.values[name] = value
        else:
            self.process.wait()
            self.reader.join()
            raise AssertionError("the relay did not start: %s" % self.log)
        self.port = self.ports[0]

    def __enter__(self):
        return self

    def __exit__(self, kind, value, trace):
        if self.process.poll() is None:
            if kind is None:
                assert self.stop() == 0, self.log
            else:
                self.process.kill()
                self.process.wait()
        self.reader.join()
        self.process.stdout.close()
        if self.process.stderr:
            self.process.stderr.close()
        if self.own_state:
            shutil.rmtree(self.state, ignore_errors=True)
        if kind is not None:
            for line in self.log:
                print("# log: " + line)
        else:
            bad = [line for line in self.log if "error" in line.lower() or "runtime" in line]
            assert not bad, bad

    def stop(self, number=signal.SIGTERM):
        self.process.send_signal(number)
        return self.process.wait(30)

    # ---- HTTPS ----

    def connect(self, source="127.0.0.1", host="127.0.0.1", timeout=30):
        s = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
        s.settimeout(timeout)
        if ":" not in host:
            s.bind((source, 0))
        s.connect((host, self.port))
        return s

    def tls(self, version=None, **how):
        return tls_context(version).wrap_socket(self.connect(**how))

    def raw(self, data, **how):
        """Sends bytes, reads until the relay closes."""
        with self.tls(**how) as s:
            s.sendall(data)
            return Reply(read_all(s))

    def request(self, method, path, token=None, body=None, fields=None, **how):
        head = "%s %s HTTP/1.1\r\nHost: relay\r\nConnection: close\r\n" % (method, path)
        fields = dict(fields or {})
        if token is not None:
            fields["Authorization"] = "Bearer " + token
        if isinstance(body, (dict, list)):
            body = json.dumps(body)
        if body is not None:
            fields.setdefault("Content-Type", "application/json")
            fields.setdefault("Content-Length", str(len(body.encode())))
        head += "".join("%s: %s\r\n" % item for item in fields.items())
        reply = self.raw((head + "\r\n" + (body or "")).encode(), **how)
        if reply.status >= 400 and method != "HEAD":
            reply.problem()
        return reply

    def publish(self, stream, token=None, query="", ssrc=None, **how):
        """With an SSRC that no other stream has."""
        token = token or self.values.get("publish-token")
        how.setdefault("body", description(ssrc or zlib.crc32(stream.encode()) or 1))
        return self.request("POST", "/v1/streams/%s/publishers%s" % (stream, query), token, **how)

    def subscribe(self, stream, token=None, **how):
        token = token or self.values.get("subscribe-token")
        how.setdefault("body", {})
        return self.request("POST", "/v1/streams/%s/subscribers" % stream, token, **how)

    # ---- Tokens ----

    def token(self, key=None, header=None, **claims):
        """Signed with the relay's own key; expires=seconds from now sets exp."""
        if "expires" in claims:
            claims["exp"] = int(time.time()) + claims.pop("expires")
        if key is None:
            with open(os.path.join(self.state, "token.key")) as f:
                key = binascii.unhexlify(f.read().strip())
        text = ".".join(
            base64url(json.dumps(part).encode())
            for part in (header or {"alg": "HS256", "typ": "JWT"}, claims)
        )
        return text + "." + base64url(hmac.new(key, text.encode(), hashlib.sha256).digest())

    # ---- The process ----

    def descriptors(self):
        return len(os.listdir("/proc/%d/fd" % self.process.pid))


def read_all(s):
    data = b""
    while True:
        try:
            chunk = s.recv(65536)
        except (ssl.SSLEOFError, ssl.SSLZeroReturnError, ConnectionResetError):
            return data
        if not chunk:
            return data
        data += chunk


def read_one(s):
    """One response out of a connection that goes on."""
    data = b""
    while b"\r\n\r\n" not in data:
        data += s.recv(65536) or b"\r\n\r\n"
    reply = Reply(data)
    while len(reply.body) < int(reply.fields.get("content-length", 0)):
        reply.body += s.recv(65536)
    return reply


def make_certificate(key, certificate, name):
    """A self-signed one, and its key, into these files."""
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
         "-nodes", "-keyout", key, "-out", certificate, "-days", "3", "-subj", "/CN=" + name],
        check=True, capture_output=True)


def wait_until(condition, seconds=60):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.01)


def refused(*args, listen=("127.0.0.1:0",), **keys):
    """What a relay says that must not start."""
    relay = Relay(*args, listen=listen, wait=False, **keys)
    try:
        code = relay.process.wait(20)
    finally:
        if relay.process.poll() is None:
            relay.process.kill()
            relay.process.wait()
    relay.reader.join()
    out = relay.process.stdout.read()
    relay.process.stdout.close()
    relay.process.stderr.close()
    if relay.own_state:
        shutil.rmtree(relay.state, ignore_errors=True)
    assert code == 1, (code, relay.log)
    assert "ready" not in out
    return "\n".join(relay.log)


def answered(data):
    return data.startswith(b"HTTP/1.1 200 ")


# ---- STUN (RFC 8489), as much as a client of the relay needs ----

COOKIE = 0x2112A442


class Stun:
    """Answers the relay's challenge with the credentials of a session document, over UDP or over what is given."""

    def __init__(self, relay, document, over=None):
        self.username = document["username"].encode()
        self.realm = document["realm"].encode()
        text = b":".join((self.username, self.realm, document["password"].encode()))
        self.key = hashlib.sha256(text).digest()
        self.nonce = None
        self.socket = over or self._udp(document["udp"][0])
        self.socket.settimeout(20)

    @staticmethod
    def _udp(where):
        s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        s.bind(("127.0.0.1", 0))
        s.connect((where["address"], where["port"]))
        return s

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.socket.close()

    @staticmethod
    def _attribute(kind, value):
        return struct.pack(">HH", kind, len(value)) + value + bytes(-len(value) % 4)

    def _message(self, attributes, sign):
        transaction = secrets.token_bytes(12)

        def head(extra):
            return struct.pack(">HHI", 1, len(attributes) + extra, COOKIE) + transaction

        if sign:
            mac = hmac.new(self.key, head(36) + attributes, hashlib.sha256).digest()
            attributes += self._attribute(0x001C, mac)
        data = head(8) + attributes
        data += self._attribute(0x8028, struct.pack(">I", binascii.crc32(data) ^ 0x5354554E))
        return transaction, data

    def _exchange(self, attributes, sign):
        transaction, data = self._message(attributes, sign)
        for _ in range(20):
            self.socket.send(data)
            answer = self._answer_to(transaction, 2)
            if answer:
                return self._parse(answer)
        raise TimeoutError("no answer to 20 requests")

    def _answer_to(self, transaction, seconds):
        """What came within this time, or nothing: a datagram may be lost on a busy machine, too."""
        patience = self.socket.gettimeout()
        self.socket.settimeout(seconds)
        try:
            while True:
                answer = self.socket.recv(2048)
                if answer[8:20] == transaction:
                    return answer
        except TimeoutError:
            return None
        finally:
            self.socket.settimeout(patience)

    @staticmethod
    def _parse(data):
        kind, length = struct.unpack_from(">HH", data)
        out = {"type": kind, "error": 0}
        at = 20
        while at < 20 + length:
            a, n = struct.unpack_from(">HH", data, at)
            value = data[at + 4 : at + 4 + n]
            if a == 0x0009:
                out["error"] = value[2] * 100 + value[3]
            elif a == 0x0015:
                out["nonce"] = value
            elif a == 0xCE43:
                out["version"] = struct.unpack(">I", value)[0]
            elif a == 0xCE44:
                out["reason"] = struct.unpack(">I", value)[0]
            at += 4 + n + -n % 4
        return out

    def _credentials(self):
        return (
            self._attribute(0x0006, self.username)
            + self._attribute(0x0014, self.realm)
            + self._attribute(0x0015, self.nonce)
            + self._attribute(0x001D, struct.pack(">HH", 2, 0))
            + self._attribute(0x8002, struct.pack(">HH", 2, 0))
            + self._attribute(0x0025, b"")
            + self._attribute(0xCE42, b"e" * 16)
        )

    def keep(self):
        """A Binding that keeps what there is; whoever reads gives its answer to heard()."""
        self.socket.send(self._message(self._credentials(), True)[1])

    def heard(self, data):
        """A nonce is good for half a minute, then there is another."""
        answer = self._parse(data)
        if answer["error"] in (401, 438):
            self.nonce = answer["nonce"]
            self.keep()

    def bind(self):
        """The challenge and its answer; the parsed response."""
        for _ in range(3):
            if self.nonce is None:
                answer = self._exchange(self._attribute(0x0026, bytes(160)), False)
            else:
                answer = self._exchange(self._credentials(), True)
            if answer["error"] not in (401, 438):
                return answer
            self.nonce = answer["nonce"]
        return answer


# ---- Running ----


def run(names):
    """Every test_... function of a module, as TAP. One that cannot try returns "SKIP why"."""
    tests = [(n, f) for n, f in names.items() if n.startswith("test_")]
    only = sys.argv[1:]
    tests = [t for t in tests if not only or t[0] in only]
    failed = 0
    print("1..%d" % len(tests), flush=True)
    for number, (name, function) in enumerate(tests, 1):
        began = time.monotonic()
        skip = None
        try:
            skip = function()
            word = "ok"
        except Exception:
            import traceback

            failed += 1
            word = "not ok"
            for line in traceback.format_exc().splitlines():
                print("# " + line)
        print(
            "%s %d - %s (%.1f s)%s"
            % (word, number, name[5:].replace("_", " "), time.monotonic() - began, " # " + skip if skip else ""),
            flush=True,
        )
    sys.exit(failed > 0)
