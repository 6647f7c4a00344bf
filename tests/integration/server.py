# natrelay
# SPDX-License-Identifier: LGPL-2.1-or-later

"""natrelay-server as whoever runs it sees it: how it starts, what it says, which signals it knows, where
it listens."""

import fcntl
import hashlib
import os
import resource
import signal
import socket
import ssl
import subprocess
import tempfile
import time
import warnings

from relay import Relay, Stun, answered, make_certificate, read_all, refused, run, tls_context, wait_until


# ---- Start ----


def test_first_start_prints_what_clients_need():
    with Relay() as r:
        assert r.lines[-1] == "ready"
        assert r.lines[0] == "listening=127.0.0.1:%d" % r.port
        with r.tls() as s:
            der = s.getpeercert(True)
        assert hashlib.sha256(der).hexdigest() == r.values["tls-fingerprint"]
        lines = [line for line in r.lines if line.startswith("gst-launch-1.0 ")]
        assert len(lines) == 2
        assert "natrelaysink uri='natrelay://" in lines[0]
        assert "natrelaysrc uri='natrelay://" in lines[1]
        for line, token in zip(lines, ("publish-token", "subscribe-token")):
            assert "tls-fingerprint=" + r.values["tls-fingerprint"] in line
            assert "auth-token=" + r.values[token] in line
        for name in ("private-key.pem", "secrets", "token.key", "ended", "publish-token"):
            assert os.stat(os.path.join(r.state, name)).st_mode & 0o077 == 0, name
        assert r.log == [], r.log


def test_state_directory_is_private():
    parent = tempfile.mkdtemp(prefix="natrelay-")
    state = os.path.join(parent, "a", "b")
    try:
        with Relay(state=state):
            assert os.stat(state).st_mode & 0o777 == 0o700
    finally:
        subprocess.run(["rm", "-rf", parent], check=True)


def test_second_start_keeps_identity_and_tokens():
    with Relay() as r:
        first = dict(r.values)
        boot = r.subscribe("a").json()["boot-id"]
        assert r.stop() == 0
        with Relay(state=r.state) as again:
            assert again.values == first
            assert again.subscribe("a").json()["boot-id"] != boot


def test_certificate_names_localhost_and_verifies_with_itself():
    with Relay("--public-address", "203.0.113.7") as r:
        context = ssl.create_default_context(cafile=os.path.join(r.state, "certificate.pem"))
        for name in ("localhost", socket.gethostname(), "127.0.0.1", "203.0.113.7"):
            with context.wrap_socket(r.connect(), server_hostname=name) as s:
                assert s.version() == "TLSv1.3"
                years = (ssl.cert_time_to_seconds(s.getpeercert()["notAfter"]) - time.time()) / 31557600
                assert 9.9 < years < 10.1


def test_tls_versions():
    with Relay() as r:
        with r.tls(version=ssl.TLSVersion.TLSv1_2) as s:
            assert s.version() == "TLSv1.2"
        warnings.simplefilter("ignore", DeprecationWarning)
        context = tls_context(ssl.TLSVersion.TLSv1_1)
        context.set_ciphers("ALL:@SECLEVEL=0")
        try:
            context.wrap_socket(r.connect())
        except ssl.SSLError as e:
            assert "version" in str(e).lower() or "alert" in str(e).lower(), e
        else:
            raise AssertionError("TLS 1.1 was taken")


def test_plain_http_gets_a_hint():
    with Relay() as r, r.connect() as s:
        s.sendall(b"GET / HTTP/1.1\r\n\r\n")
        assert b"https://" in read_all(s)


def test_help_and_version():
    program = os.environ["NATRELAY_SERVER"]
    text = subprocess.run([program, "--help"], capture_output=True, text=True, check=True).stdout
    for word in ("--listen", "--public-address", "--state-dir", "--certificate", "--private-key",
                 "--workers", "--open", "--config", "--version", "max-sessions"):
        assert word in text, word
    text = subprocess.run([program, "--version"], capture_output=True, text=True, check=True).stdout
    assert text.startswith("natrelay-server ")


# ---- Signals ----


def test_sigterm_ends_it_at_once():
    for number in (signal.SIGTERM, signal.SIGINT):
        with Relay() as r:
            with Stun(r, r.publish("a").json()) as s:
                s.bind()
                held = [r.connect() for _ in range(30)] + [r.tls() for _ in range(10)]
                began = time.monotonic()
                assert r.stop(number) == 0
                assert time.monotonic() - began < 5, "nobody is waited for"
                data = s.socket.recv(2048)
                assert data[:2] == b"\x00\x11" and b"\xce\x44\x00\x04\x00\x00\x00\x03" in data
                for c in held:
                    c.close()


def test_sighup_reads_certificate_and_keys_anew():
    with tempfile.TemporaryDirectory() as d:
        key, certificate = os.path.join(d, "k.pem"), os.path.join(d, "c.pem")
        token_key = os.path.join(d, "site.key")

        def peer():
            with r.tls() as s:
                return s.getpeercert(True)

        make_certificate(key, certificate, "one")
        with open(token_key, "w") as f:
            f.write("11" * 32)
        with Relay("--certificate", certificate, "--private-key", key, "--token-key", token_key) as r:
            first = peer()
            assert hashlib.sha256(first).hexdigest() == r.values["tls-fingerprint"]
            old = r.tls()
            make_certificate(key, certificate, "two")
            with open(token_key, "w") as f:
                f.write("22" * 32)
            r.process.send_signal(signal.SIGHUP)
            wait_until(lambda: peer() != first)
            # who came before is served to the end
            old.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            assert answered(read_all(old))
            old.close()
            header = {"alg": "HS256", "kid": "site"}
            assert r.publish("a", r.token(key=b"\x22" * 32, header=header, publish=["a"])).status == 201
            assert r.publish("a", r.token(key=b"\x11" * 32, header=header, publish=["a"])).status == 401
            second = peer()
            with open(key, "w") as f:
                f.write("nonsense")
            r.process.send_signal(signal.SIGHUP)
            wait_until(lambda: any("stay as they were" in line for line in r.log))
            assert peer() == second


def test_a_withdrawn_key_ends_its_sessions():
    with tempfile.TemporaryDirectory() as d:
        files = [os.path.join(d, name + ".key") for name in ("gone", "kept")]
        for i, path in enumerate(files):
            with open(path, "w") as f:
                f.write("%d%d" % (i, i) * 32)

        def token(r, i):
            header = {"alg": "HS256", "kid": ("gone", "kept")[i]}
            return r.token(key=bytes([17 * i]) * 32, header=header, sub=str(i), publish=["**"], subscribe=["**"])

        with Relay("--token-key", files[0], "--token-key", files[1]) as r:
            first = r.publish("a", token(r, 0))
            assert first.status == 201
            watchers = [r.subscribe("a", token(r, i)) for i in (0, 1)]
            # one changes hands: it lives by its newest token
            moved = r.subscribe("a", r.token(key=bytes(32), header={"alg": "HS256", "kid": "gone"}, sub="1", subscribe=["a"]))
            assert r.request("PUT", moved.fields["location"] + "/token", token=token(r, 1), body={}).status == 200
            clients = [Stun(r, reply.json()) for reply in (first, *watchers, moved)]
            for c in clients:
                assert c.bind()["type"] == 0x0101
            with open(files[0], "w") as f:
                f.write("ab" * 32)
            r.process.send_signal(signal.SIGHUP)
            wait_until(lambda: any("2 sessions ended" in line for line in r.log))
            for c, ended in zip(clients, (True, True, False, False)):
                answer = c.bind()
                assert (answer["error"], answer.get("reason")) == ((403, 7) if ended else (0, None)), answer
                c.socket.close()
            assert r.publish("a", token(r, 0)).status == 401
            assert r.publish("a", token(r, 1)).status == 201, "the place is free"


def test_sighup_reads_settings_anew():
    with tempfile.TemporaryDirectory() as d:
        path = os.path.join(d, "relay.conf")

        def write(**keys):
            with open(path, "w") as f:
                f.write("[server]\n" + "".join("%s=%s\n" % (k.replace("_", "-"), v) for k, v in keys.items()))

        def reload(words):
            before = len(r.log)
            r.process.send_signal(signal.SIGHUP)
            wait_until(lambda: any(words in line for line in r.log[before:]))

        write(max_sessions=1)
        with Relay("--config", path) as r:
            first = r.publish("a", r.values["publish-token"])
            assert first.status == 201
            assert r.publish("b", r.values["publish-token"]).status == 503
            write(max_sessions=2, cache_mb=7)
            reload("read anew")
            wait_until(lambda: any("until the relay is restarted: cache-mb" in line for line in r.log))
            assert r.publish("b", r.values["publish-token"]).status == 201
            write(max_sesions=3)
            reload("line 2: There is no key \"max-sesions\". Did you mean max-sessions?")
            assert r.publish("c", r.values["publish-token"]).status == 503
            # nobody was put out
            assert r.request("GET", first.fields["location"], token=r.values["publish-token"]).status == 200


def test_sigusr1_drains():
    with Relay() as r:
        token = r.values["publish-token"]
        first = r.publish("a", token)
        assert first.status == 201
        r.process.send_signal(signal.SIGUSR1)
        wait_until(lambda: r.request("GET", "/healthz").status == 503)
        refused_one = r.publish("b", token)
        assert refused_one.status == 503 and refused_one.json()["type"].endswith("/relay-draining")
        assert r.request("GET", first.fields["location"], token=token).status == 200
        assert r.process.poll() is None
        assert r.request("DELETE", first.fields["location"], token=token).status == 204
        assert r.process.wait(timeout=30) == 0


def test_check():
    def check(*args):
        return subprocess.run([os.environ["NATRELAY_SERVER"], "--check", *args], capture_output=True, text=True)

    with tempfile.TemporaryDirectory() as d:
        state = os.path.join(d, "state")
        good = check("--state-dir", state)
        assert good.returncode == 0 and good.stdout == "the settings are good\n", good
        assert not os.path.exists(state)
        path = os.path.join(d, "relay.conf")
        with open(path, "w") as f:
            f.write("[server]\nworkers=lots\n")
        bad = check("--config", path)
        assert bad.returncode == 1 and "line 2" in bad.stderr, bad
        bad = check("--state-dir", state, "--token-key", os.path.join(d, "absent"))
        assert bad.returncode == 1 and "absent" in bad.stderr, bad
    with Relay() as r:
        # also of one that runs
        assert check("--state-dir", r.state).returncode == 0


def test_the_service_manager_is_told():
    with tempfile.TemporaryDirectory() as d:
        path = os.path.join(d, "notify")
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as s:
            s.bind(path)
            s.settimeout(30)
            with Relay(env={"NOTIFY_SOCKET": path}) as r:
                assert s.recv(100) == b"READY=1"
                r.process.send_signal(signal.SIGHUP)
                assert s.recv(100).startswith(b"RELOADING=1\nMONOTONIC_USEC=")
                assert s.recv(100) == b"READY=1"
                assert r.stop() == 0
                assert s.recv(100) == b"STOPPING=1"


def test_no_tokens_in_a_journal():
    with tempfile.TemporaryDirectory() as d, tempfile.TemporaryFile() as out:
        st = os.fstat(out.fileno())
        p = subprocess.Popen(
            [os.environ["NATRELAY_SERVER"], "--state-dir", d, "--listen", "127.0.0.1:0"],
            stdout=out, stderr=out,
            env=dict(os.environ, JOURNAL_STREAM="%d:%d" % (st.st_dev, st.st_ino)))

        def text():
            return os.pread(out.fileno(), 100000, 0).decode()

        try:
            wait_until(lambda: "ready" in text())
        finally:
            p.send_signal(signal.SIGTERM)
            assert p.wait(30) == 0
        assert "tls-fingerprint=" in text() and "eyJ" not in text(), text()
        assert "<6>stopping\n" in text(), text()
        with open(os.path.join(d, "publish-token")) as f:
            assert f.read().startswith("eyJ")


# ---- Addresses ----


def test_udp_addresses_of_wildcards():
    with Relay(listen=("0.0.0.0:0", "127.0.0.1:0")) as r:
        d = r.publish("a").json()
        assert d["udp"] == [{"address": "127.0.0.1", "port": p} for p in r.ports]
    with Relay("--public-address", "203.0.113.7", listen=("0.0.0.0:0",)) as r:
        # from this machine itself the outside address may not lead back
        assert r.publish("a").json()["udp"] == [{"address": "127.0.0.1", "port": r.port}]
        assert "natrelay://203.0.113.7:" in "\n".join(r.lines)


def test_lines_to_paste_name_an_address_that_is_listened_at():
    for listen in (("127.0.0.1:0",), ("127.0.0.1:0", "127.0.0.2:0")):
        with Relay(listen=listen) as r:
            assert sum("uri='natrelay://127.0.0.1:%d/" % r.port in line for line in r.lines) == 2
    with Relay(listen=("127.0.0.1:0", "0.0.0.0:0")) as r:
        uri = "uri='natrelay://%s:%d/" % (socket.gethostname(), r.ports[1])
        assert sum(uri in line for line in r.lines) == 2, r.lines


def test_ipv6():
    try:
        with socket.socket(socket.AF_INET6) as s:
            s.bind(("::1", 0))
    except OSError:
        return
    with Relay(listen=("[::1]:0",)) as r:
        d = r.publish("a", host="::1").json()
        assert d["udp"] == [{"address": "::1", "port": r.port}]


# ---- Errors worth reading ----


def test_port_taken():
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
        with socket.socket(socket.AF_INET, kind) as s:
            s.bind(("127.0.0.1", 0))
            if kind == socket.SOCK_STREAM:
                s.listen()
            port = s.getsockname()[1]
            text = refused(listen=("127.0.0.1:%d" % port,))
            assert str(port) in text and "127.0.0.1" in text and ("in use" in text or "taken" in text), text
            assert ("TCP" if kind == socket.SOCK_STREAM else "UDP") in text, text
    with Relay() as r:
        assert "127.0.0.1:%d" % r.port in refused(listen=("127.0.0.1:%d" % r.port,))


def test_one_relay_in_a_state_directory():
    with Relay() as r:
        text = refused(state=r.state)
        assert r.state in text and "another natrelay-server" in text, text
        r.process.kill()
        r.process.wait()
        with Relay(state=r.state) as again:
            assert again.values == r.values


def test_starts_while_the_disk_is_full():
    with tempfile.TemporaryDirectory() as d:
        with Relay(state=d) as r:
            session = r.publish("cam-1").json()["session"]
            assert r.request("DELETE", "/v1/sessions/" + session, r.values["publish-token"]).status == 204
        ended = os.path.join(d, "ended")
        assert os.path.getsize(ended) > 0
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, before[1]))
        try:
            relay = Relay(state=d)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
        with relay as r:
            session = r.publish("cam-1").json()["session"]
            wait_until(lambda: any("Make room" in line for line in r.log))
            assert any("natrelay-server status" in line for line in r.log), r.log
            resource.prlimit(r.process.pid, resource.RLIMIT_FSIZE, before)
            assert r.request("DELETE", "/v1/sessions/" + session, r.values["publish-token"]).status == 204
            wait_until(lambda: len(open(ended).readlines()) == 2)


def test_nobody_reads_the_log():
    """More than the pipe holds: the relay answers and ends as always, and who reads later has what was kept for him."""
    for reads in (False, True):
        ours, its = os.pipe()
        fcntl.fcntl(its, fcntl.F_SETPIPE_SZ, 4096)
        with Relay(stderr=its, max_posts_burst=1000) as r:
            os.close(its)
            for n in range(60):
                assert r.subscribe("cam-%d" % n).status == 201
            log = b""
            while reads and log.count(b"access granted") < 60:
                log += os.read(ours, 1 << 16)
            assert b"are lost" not in log
            assert r.stop() == 0
        os.close(ours)


def test_a_message_does_not_steer_the_terminal():
    for word in (b"a\x1b[31mb", b"a\nb", b"a\xc2\x9b31mb", b"a\x9b31mb"):
        done = subprocess.run([os.environ["NATRELAY_SERVER"], b"--listen", word], capture_output=True)
        assert done.returncode == 1 and done.stderr.endswith(b"\n")
        assert not any(c in done.stderr[:-1] for c in b"\x1b\x9b\n"), done.stderr


def test_settings_that_cannot_be():
    for args, words in (
        (("--listne", "x"), "--listen"),
        (("--public-adress=1.2.3.4",), "--public-address"),
        (("listen",), "not an option"),
        (("--workers",), "needs a value"),
        (("--workers", "many"), "whole number"),
        (("--max-memory-mb", "64"), "at least 128"),
        (("--max-sessions=1",), "natrelay-server.conf"),
        (("--open=everybody",), "anyone"),
        (("--public-address", "relay.example.org"), "numeric"),
        (("--public-address", "1.2.3.4:5"), "without a port"),
        (("--certificate", "x.pem"), "--private-key"),
        (("--config", "/nonexistent/x.conf"), "/nonexistent/x.conf"),
        (("--certificate", "/nonexistent/c", "--private-key", "/nonexistent/k"), "/nonexistent/c"),
        (("--token-key", "/nonexistent/t"), "/nonexistent/t"),
    ):
        text = refused(*args)
        assert words in text, (args, text)
    assert "Did you mean max-sessions?" in refused(max_sesions=1)
    assert "max-sessions" in refused(max_sessions="lots")
    assert "given twice" in refused(listen=("127.0.0.1:7443", "127.0.0.1:7443"))
    assert "/proc/none" in refused(state="/proc/none")
    assert "198.51.100.77" in refused(listen=("198.51.100.77:0",))


def test_files_that_cannot_be():
    with tempfile.TemporaryDirectory() as d:
        def make(name):
            make_certificate(os.path.join(d, name + ".key"), os.path.join(d, name + ".pem"), name)

        make("a")
        make("b")
        path = lambda name: os.path.join(d, name)
        text = refused("--certificate", path("a.pem"), "--private-key", path("b.key"))
        assert "another certificate" in text, text
        text = refused("--certificate", path("a.key"), "--private-key", path("a.pem"))
        assert "PEM" in text, text
        with open(path("empty"), "w"):
            pass
        assert path("empty") in refused("--certificate", path("empty"), "--private-key", path("a.key"))
        assert path("empty") in refused("--token-key", path("empty"))
        for name in ("secrets", "token.key", "private-key.pem"):
            state = path("state-" + name)
            os.mkdir(state, 0o700)
            with open(os.path.join(state, name), "w") as f:
                f.write("rubbish\n")
            if name == "private-key.pem":
                with open(os.path.join(state, "certificate.pem"), "w") as f:
                    f.write("rubbish\n")
            assert name in refused(state=state), name


if __name__ == "__main__":
    run(dict(globals()))
