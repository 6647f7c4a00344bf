# natrelay
# SPDX-License-Identifier: LGPL-2.1-or-later

"""What the relay's process keeps to itself: what TLS it speaks, what it gave up when it started, what its memory and its
state directory hold of secrets, and that a crash leaves none of them behind."""

import binascii
import os
import resource
import signal
import ssl
import stat
import subprocess
import tempfile
import warnings

from processmemory import found
from relay import Relay, read_one, run, tls_context, wait_until

# By OpenSSL's names. All that TLS 1.2 has and that this machine's OpenSSL still offers is tried beside these.
GOOD = {
    "ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-ECDSA-AES256-GCM-SHA384", "ECDHE-ECDSA-CHACHA20-POLY1305",
    "ECDHE-RSA-AES128-GCM-SHA256", "ECDHE-RSA-AES256-GCM-SHA384", "ECDHE-RSA-CHACHA20-POLY1305",
}


def certificate(folder, kind):
    """(certificate, key) that were made for the purpose."""
    key, pem = os.path.join(folder, kind + ".key"), os.path.join(folder, kind + ".pem")
    algorithm = ["rsa:2048"] if kind == "rsa" else ["ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", *algorithm, "-nodes", "-keyout", key, "-out", pem, "-days", "3", "-subj", "/CN=x"],
        check=True, capture_output=True)
    return pem, key


# ---- TLS ----


def speaks(relay, ciphers, version=ssl.TLSVersion.TLSv1_2):
    """The suite that a client gets that offers only these; None: it is refused."""
    context = tls_context(version)
    context.set_ciphers(ciphers + ":@SECLEVEL=0")
    try:
        with context.wrap_socket(relay.connect()) as s:
            return s.cipher()[0]
    except (ssl.SSLError, ConnectionResetError):
        return None


def all_ciphers():
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.set_ciphers("ALL:COMPLEMENTOFALL:@SECLEVEL=0")
    return [c["name"] for c in context.get_ciphers() if c["protocol"] != "TLSv1.3"]


def test_tls_suites():
    """With either kind of certificate: authenticated encryption and a key that is new for each connection, nothing else."""
    offered = all_ciphers()
    assert any("SHA256" in c and "GCM" not in c and "CHACHA" not in c for c in offered), "there is CBC to refuse: %s" % offered
    with tempfile.TemporaryDirectory() as folder:
        for kind in ("ec", "rsa"):
            pem, key = certificate(folder, kind)
            with Relay("--certificate", pem, "--private-key", key) as r:
                taken = {c for c in offered if speaks(r, c)}
                wanted = {c for c in GOOD if ("ECDSA" in c) == (kind == "ec") and c in offered}
                assert taken == wanted, (kind, taken ^ wanted)
                # Of both the relay chooses, and not the client.
                assert speaks(r, ":".join(reversed(sorted(wanted)))) == speaks(r, ":".join(sorted(wanted)))


def test_tls_versions():
    warnings.simplefilter("ignore", DeprecationWarning)
    with Relay() as r:
        for version in (ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1):
            assert speaks(r, "ALL", version) is None, version
        with r.tls() as s:
            assert s.version() == "TLSv1.3" and "GCM" in s.cipher()[0]


# ---- The process ----


def status(relay, name):
    with open("/proc/%d/status" % relay.process.pid) as f:
        return f.read().split("\n%s:" % name)[1].split("\n")[0].strip()


def test_gives_up_what_it_does_not_need():
    """Also without a service manager: no new privileges, and calls that a relay never makes are refused."""
    with Relay() as r:
        if any("seccomp" in line for line in r.log):
            print("# this system has no seccomp for processes: not looked at")
            return
        assert status(r, "NoNewPrivs") == "1"
        assert status(r, "Seccomp") == "2"
        for task in os.listdir("/proc/%d/task" % r.process.pid):
            with open("/proc/%d/task/%s/status" % (r.process.pid, task)) as f:
                assert "\nSeccomp:\t2\n" in f.read(), "every thread"


def crash(folder, *options, **env):
    """How a relay ends that crashes where the system would write a dump of any size: TRUE if it did."""
    wrapper = os.path.join(folder, "anywhere")
    with open(wrapper, "w") as f:
        f.write('#!/bin/sh\nulimit -c unlimited && cd "%s" && exec "%s" "$@"\n' % (folder, os.environ["NATRELAY_SERVER"]))
    os.chmod(wrapper, 0o755)
    program, os.environ["NATRELAY_SERVER"] = os.environ["NATRELAY_SERVER"], wrapper
    signal.signal(signal.SIGQUIT, signal.SIG_DFL)  # a shell's background job has it ignored, and so would the relay
    try:
        relay = Relay(*options, env=env)
    finally:
        os.environ["NATRELAY_SERVER"] = program
    relay.process.send_signal(signal.SIGQUIT)  # what no sanitizer catches
    end = os.waitid(os.P_PID, relay.process.pid, os.WEXITED | os.WNOWAIT)
    relay.process.wait()
    relay.__exit__(None, None, None)
    assert end.si_status == signal.SIGQUIT, end
    return end.si_code == os.CLD_DUMPED


def test_a_crash_leaves_no_dump():
    if resource.getrlimit(resource.RLIMIT_CORE)[1] != resource.RLIM_INFINITY:
        print("# this process may not raise its limit for core dumps: not tried")
        return
    with open("/proc/sys/kernel/core_pattern") as f:
        pattern = f.read()
    if pattern[0] in "|/":
        print("# core dumps of this system go to %s: not tried" % pattern.strip())
        return
    with tempfile.TemporaryDirectory() as folder:
        if not crash(folder, "--core-dumps"):
            print("# this system writes no core dumps: not tried")
            return
        assert not crash(folder, NATRELAY_CORE_DUMPS="false")


# ---- Secrets ----


def test_files_of_secrets_are_wiped_from_memory():
    """The texts that keys were read from are gone once they are read; the key that is in use is there, so the search
    looks where it should."""
    with Relay() as first:
        with open(os.path.join(first.state, "secrets")) as f:
            secret = f.read().split()[1]
        with open(os.path.join(first.state, "token.key")) as f:
            token_key = f.read().strip()
        assert first.stop() == 0
        with Relay(state=first.state) as r:
            assert r.request("GET", "/healthz").status == 200
            wanted = {
                "token key in use": binascii.unhexlify(token_key), "text of the token key": token_key.encode(),
                "text of the secret": secret.encode(), "secret itself": binascii.unhexlify(secret),
            }
            names, size = found(r.process, wanted)
            print("# searched %.0f MB" % (size / 1e6))
            # Of the secret it has what is derived from it.
            assert names == {"token key in use"}, names


def test_files_of_secrets_are_private():
    """Whatever umask the relay is started under, and after it wrote them anew."""
    before = os.umask(0)
    try:
        with Relay() as r:
            for name in os.listdir(r.state):
                mode = os.stat(os.path.join(r.state, name)).st_mode
                public = name in ("certificate.pem", "lock")
                assert stat.S_IMODE(mode) & 0o077 == 0 or public, (name, oct(mode))
            assert r.request("DELETE", r.subscribe("a").fields["location"], r.values["subscribe-token"]).status == 204
            wait_until(lambda: os.path.getsize(os.path.join(r.state, "ended")) > 0)
            assert stat.S_IMODE(os.stat(os.path.join(r.state, "ended")).st_mode) == 0o600
    finally:
        os.umask(before)


def test_directory_that_others_may_read():
    """The relay does not mend what an operator did, but it says what he should."""
    with Relay() as first:
        assert first.stop() == 0
        os.chmod(first.state, 0o755)
        with Relay(state=first.state) as r:
            wait_until(lambda: any("chmod 700 " + r.state in line for line in r.log))


def test_a_connection_that_was_refused_tells_nothing():
    """Answers to strangers are the same whether a stream, a session or a key is there or not, but for the name that they asked for."""
    with Relay() as r:
        there = r.publish("there", r.token(sub="x", publish=["there"])).fields["location"]
        other = r.token(sub="o", subscribe=["elsewhere"])
        answers = set()
        for name in ("there", "absent"):
            reply = r.subscribe(name, other)
            answers.add((reply.status, reply.body.replace(name.encode(), b"NAME")))
        assert len(answers) == 1, answers
        with r.tls() as s:
            s.sendall(("GET %s HTTP/1.1\r\nHost: x\r\n\r\n" % there).encode())
            one = read_one(s)
        with r.tls() as s:
            s.sendall(("GET %sA HTTP/1.1\r\nHost: x\r\n\r\n" % there[:-1]).encode())
            two = read_one(s)
        assert one.status == two.status == 401 and one.body == two.body


if __name__ == "__main__":
    run(dict(globals()))
