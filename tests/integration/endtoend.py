# natrelay
# SPDX-License-Identifier: LGPL-2.1-or-later

"""With a passphrase, a relay holds nothing that opens the stream it forwards: its memory is read while a stream passes,
and searched for every key that docs/PROTOCOL.md derives, and for the media. That the search finds what is there is shown by
streams without a passphrase, and in clear. And what the relay says of a stream in the publisher's place is not believed.
"""

import base64
import hashlib
import hmac
import json
import os
import random
import re
import struct
import subprocess
import tempfile

from processmemory import found
from relay import MEDIA_KEY, Relay, Stun, description, run, wait_until

PASSPHRASE = "quarrel mango thunder ripple"
ROUNDS = 600000
FILE = os.path.join(os.path.dirname(__file__), "../vectors/sframe/test-vectors.json")
# Sound of one noise over and over, so that any packet of it holds the runs that are searched for.
BLOCK = random.Random(1).randbytes(400)
RUNS = [BLOCK[i : i + 40] for i in (0, 100, 200, 300)]


def hkdf(ikm, salt, info, length=32, name="sha256"):
    size = hashlib.new(name).digest_size
    prk = hmac.new(salt or bytes(size), ikm, name).digest()
    out = block = b""
    while len(out) < length:
        block = hmac.new(prk, block + info + bytes([len(out) // size + 1]), name).digest()
        out += block
    return out[:length]


def sframe(base_key, kid, suite=4):
    """Key and salt, as RFC 9605 section 4.4.2 has them."""
    tail = struct.pack(">QH", kid, suite)
    return (
        hkdf(base_key, b"", b"SFrame 1.0 Secret key " + tail, 16),
        hkdf(base_key, b"", b"SFrame 1.0 Secret salt " + tail, 12),
    )


def unbase64(text):
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


class Keys:
    """All that a session document and the passphrase (or none) come to."""

    def __init__(self, document, stream, passphrase):
        (key,) = document["media-keys"]
        self.sdp = document["sdp"]
        self.kid = key["kid"]
        self.shown = unbase64(key["key"])
        self.secrets = {}
        media = self.shown
        if passphrase is not None:
            media = self._stretch(stream, passphrase)
        for ssrc in {int(s) for s in re.findall("a=ssrc:([0-9]+)", self.sdp)}:
            info = b"natrelay sframe v1" + struct.pack(">IQ", ssrc, self.kid)
            base = hkdf(media, b"", info)
            self.secrets["base key"] = base
            self.secrets["SFrame key"], self.secrets["SFrame salt"] = sframe(base, self.kid)

    def _stretch(self, stream, passphrase):
        room = stream.rpartition("/")[0] or stream
        salt = b"natrelay passphrase v1" + room.encode()
        stretched = hashlib.pbkdf2_hmac("sha256", passphrase.encode(), salt, ROUNDS)
        media = hkdf(stretched, self.shown, b"natrelay end to end v1" + stream.encode())
        proof = hkdf(stretched, b"", b"natrelay description v1" + stream.encode())
        self.secrets = {
            "passphrase": passphrase.encode(),
            "stretched passphrase": stretched,
            "media key": media,
            "media key as text": base64.urlsafe_b64encode(media)[:43],
            "mac key": proof,
        }
        # That all this is what natrelaysink does, the description itself proves.
        line, rest = re.search("a=natrelay-passphrase:1 ([^\r]*)\r\n", self.sdp), self.sdp
        rest = rest.replace(line.group(0), "")
        text = struct.pack(">BQH", 1, self.kid, 4) + self.shown + rest.encode()
        assert hmac.digest(proof, text, "sha256") == unbase64(line.group(1))
        return media


def element(kind, relay, stream, token, properties):
    return [
        "natrelay" + kind,
        "uri=natrelay://127.0.0.1:%d/%s?tls-fingerprint=%s"
        % (relay.port, stream, relay.values["tls-fingerprint"]),
        "auth-token=" + relay.values[token],
    ] + ["%s=%s" % item for item in properties.items()]


def launch(*parts):
    command = ["gst-launch-1.0", "-q"]
    for part in parts:
        command += (["!"] if len(command) > 2 else []) + part
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


def end(process):
    process.kill()
    process.communicate()


def forwarded(relay):
    text = relay.request("GET", "/metrics").body.decode()
    (line,) = re.findall("^natrelay_packets_sent[a-z_]* ([0-9.e+]+)$", text, re.M)
    return float(line)


class Stream:
    """One of the noise, and somebody who listens."""

    def __init__(self, relay, name, to=None, listener=None):
        self.folder = tempfile.TemporaryDirectory()
        path = os.path.join(self.folder.name, "noise")
        self.heard = os.path.join(self.folder.name, "heard")
        with open(path, "wb") as f:
            f.write(BLOCK * (192000 * 60 // len(BLOCK)))  # a minute
        sound = "format=pcm pcm-format=s16be sample-rate=48000 num-channels=2".split()
        self.processes = [
            launch(
                element("src", relay, name, "subscribe-token", listener or {}),
                ["rtpL16depay"],
                ["filesink", "buffer-mode=unbuffered", "location=" + self.heard],
            ),
            launch(
                ["filesrc", "blocksize=4000", "location=" + path],
                ["rawaudioparse"] + sound,
                ["rtpL16pay", "mtu=1000"],
                element("sink", relay, name, "publish-token", to or {}),
            ),
        ]
        wait_until(lambda: forwarded(relay) > 200)
        wait_until(self.is_heard)

    def is_heard(self):
        for process in self.processes:
            assert process.poll() is None, process.communicate()[1]
        if not os.path.exists(self.heard):
            return False
        with open(self.heard, "rb") as f:
            return BLOCK in f.read()

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        for process in self.processes:
            end(process)
        self.folder.cleanup()


def document(relay, stream):
    reply = relay.subscribe(stream)
    assert reply.status == 201, reply.raw
    return reply.json()


def plain():
    return {"media at %d" % i: piece for i, piece in enumerate(RUNS)}


def test_derivation_is_RFC_9605s():
    with open(FILE) as f:
        vectors = [v for v in json.load(f)["sframe"] if v["cipher_suite"] == 4]
    for v in vectors:
        key, salt = sframe(bytes.fromhex(v["base_key"]), v["kid"])
        assert (key.hex(), salt.hex()) == (v["sframe_key"], v["sframe_salt"])
    assert vectors


def test_relay_holds_no_key_and_no_media():
    secret = {"passphrase": PASSPHRASE}
    with Relay() as relay, Stream(relay, "room/door", secret, secret):
        keys = Keys(document(relay, "room/door"), "room/door", PASSPHRASE)
        wanted = dict(keys.secrets, shown=keys.shown, **plain())
        names, size = found(relay.process, wanted)
        print("# %d things searched for in %.0f MB: %s" % (len(wanted), size / 1e6, names))
        # What the relay was told is found, so the search looks where it should.
        assert names == {"shown"}, names


def test_without_passphrase_the_key_is_found():
    with Relay() as relay, Stream(relay, "door"):
        keys = Keys(document(relay, "door"), "door", None)
        names, _ = found(relay.process, dict(keys.secrets, shown=keys.shown, **plain()))
        # It has no use for what is derived from it, and does not decrypt.
        assert names == {"shown"}, names


def test_in_clear_the_media_is_found():
    with Relay() as relay, Stream(relay, "door", {"encryption": "none"}):
        names, _ = found(relay.process, plain())
        assert names == set(plain()), names


def unverified(relay):
    text = relay.request("GET", "/metrics").body.decode()
    (line,) = re.findall("^natrelay_.*drop_unverified.* ([0-9]+)$", text, re.M)
    return int(line)


def test_verified_media():
    """A relay that verifies what it can forwards what it cannot, as ever."""
    for properties in ({}, {"passphrase": PASSPHRASE}, {"encryption": "none"}):
        listener = {k: v for k, v in properties.items() if k == "passphrase"}
        with Relay("--verify-media") as relay, Stream(relay, "door", properties, listener):
            assert unverified(relay) == 0


def test_unverified_media():
    """Somebody at the publisher's address who has no key."""
    with Relay("--verify-media") as relay:
        body = description(1234, **{"media-keys": [MEDIA_KEY]})
        with Stun(relay, relay.publish("door", body=body).json()) as publisher:
            assert publisher.bind()["error"] == 0
            publisher.socket.send(struct.pack(">BBHII", 0x80, 96, 1, 0, 1234) + bytes(100))
            wait_until(lambda: unverified(relay) == 1)
            assert forwarded(relay) == 0


def test_made_up_descriptions():
    """What the publisher proved, but a little different, in its place: as a relay could that is not honest."""
    secret = {"passphrase": PASSPHRASE}
    with Relay() as relay:
        with Stream(relay, "door", secret, secret):
            real = document(relay, "door")
        sdp, keys = real["sdp"], real["media-keys"]
        other = dict(keys[0], kid=keys[0]["kid"] + 1)
        for what, body in {
            "another SSRC": {"sdp": re.sub("a=ssrc:[0-9]+", "a=ssrc:99", sdp), "media-keys": keys},
            "another key": {"sdp": sdp, "media-keys": [other]},
            "one more key": {"sdp": sdp, "media-keys": keys + [other]},
            "in clear": {"sdp": sdp},
            "no proof": {
                "sdp": re.sub("a=natrelay-passphrase[^\n]*\n", "", sdp),
                "media-keys": keys,
            },
        }.items():
            token = relay.token(publish=["door"], takeover=True)
            reply = relay.publish("door", token, "?takeover=true", body=body)
            assert reply.status == 201, reply.raw
            viewer = launch(element("src", relay, "door", "subscribe-token", secret), ["fakesink"])
            try:
                said = viewer.communicate(timeout=30)[1]
            finally:
                end(viewer)
            assert viewer.returncode == 1 and "passphrase" in said, (what, said)


if __name__ == "__main__":
    run(dict(globals()))
