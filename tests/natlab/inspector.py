#!/usr/bin/python3
# natrelay
# SPDX-License-Identifier: LGPL-2.1-or-later
"""inspector.py ADDRESS PORT FOLDER [HOST...]: an HTTP proxy that inspects TLS, as a virus shield does.

It answers CONNECT, shows the client a certificate for that host which its own authority issued, makes
a TLS connection of its own to the host, and reads what passes. The authority's certificate is
FOLDER/inspector-ca.pem. For each HOST it has a certificate before anybody asks. Prints "ready", and
the first line of each request that it read."""
import os
import re
import select
import socket
import ssl
import subprocess
import sys
import threading

CURVE = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
lock = threading.Lock()


def openssl(*arguments):
    subprocess.run(["openssl", *arguments], check=True, capture_output=True)


def make_authority(folder):
    openssl("req", "-x509", *CURVE, "-days", "2", "-subj", "/CN=Virus Shield of the lab",
            "-addext", "basicConstraints=critical,CA:TRUE", "-keyout", folder + "/inspector-ca.key",
            "-out", folder + "/inspector-ca.pem")


def forge(folder, host):
    """Certificate and key for the host, in one file."""
    base = os.path.join(folder, "forged-" + re.sub(r"[^0-9A-Za-z.-]", "_", host))
    with lock:
        if os.path.exists(base + ".pem"):
            return base + ".pem"
        literal = re.fullmatch(r"[0-9.]+|.*:.*", host) is not None
        with open(base + ".ext", "w", encoding="ascii") as file:
            file.write("subjectAltName=%s:%s\n" % ("IP" if literal else "DNS", host))
        openssl("req", *CURVE, "-subj", "/CN=" + host, "-keyout", base + ".key", "-out", base + ".csr")
        openssl("x509", "-req", "-in", base + ".csr", "-CA", folder + "/inspector-ca.pem", "-CAkey",
                folder + "/inspector-ca.key", "-CAcreateserial", "-days", "2", "-extfile",
                base + ".ext", "-out", base + ".crt")
        with open(base + ".tmp", "wb") as out:
            for part in (".crt", ".key"):
                with open(base + part, "rb") as file:
                    out.write(file.read())
        os.rename(base + ".tmp", base + ".pem")
    return base + ".pem"


def read(end):
    """What is there; None = nothing yet, b"" = the end."""
    try:
        return end.recv(65536)
    except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
        return None


def write(end, data):
    while data:
        try:
            data = data[end.send(data):]
        except ssl.SSLWantWriteError:
            select.select([], [end], [])
        except ssl.SSLWantReadError:
            select.select([end], [], [])


def copy(near, far):
    """Until either ends. One thread for both ways: TLS does not bear two."""
    other = {near: far, far: near}
    for end in other:
        end.setblocking(False)
    while True:
        ready = [end for end in other if end.pending()] or select.select(list(other), [], [])[0]
        for end in ready:
            data = read(end)
            if data == b"":
                return
            if data and end is near and re.match(rb"[A-Z]+ /", data):
                print(data.split(b"\r\n", 1)[0].decode("ascii", "replace"), flush=True)
            if data:
                write(other[end], data)


def head_of(client):
    head = b""
    while b"\r\n\r\n" not in head and len(head) < 8192:
        data = client.recv(1024)
        if not data:
            break
        head += data
    return head


def serve(client, folder):
    found = re.match(rb"CONNECT \[?([^ \]]+)\]?:([0-9]+) HTTP/1", head_of(client))
    if not found:
        client.close()
        return
    host, port = found.group(1).decode(), int(found.group(2))
    inward = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    inward.load_cert_chain(forge(folder, host))
    outward = ssl.create_default_context()
    outward.check_hostname = False
    outward.verify_mode = ssl.CERT_NONE
    try:
        with client, socket.create_connection((host, port), timeout=10) as plain:
            plain.settimeout(None)
            plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
            with inward.wrap_socket(client, server_side=True) as near, outward.wrap_socket(plain) as far:
                copy(near, far)
    except OSError as error:
        print("ended: %s" % error, flush=True)


def main():
    address, port, folder = sys.argv[1], int(sys.argv[2]), sys.argv[3]
    make_authority(folder)
    for host in sys.argv[4:]:
        forge(folder, host)
    listener = socket.create_server((address, port))
    print("ready", flush=True)
    while True:
        client, _ = listener.accept()
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        threading.Thread(target=serve, args=(client, folder), daemon=True).start()


if __name__ == "__main__":
    main()
