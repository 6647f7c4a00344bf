# natrelay
# SPDX-License-Identifier: LGPL-2.1-or-later

"""Web servers that a relay asks: an issuer of keys, an access callback."""

import http.server
import json
import ssl
import threading
import time


class Web:
    """A small web server on 127.0.0.1, which answers as answer(path, body) says: (status, fields, text)."""

    def __init__(self, answer, certificate=None):
        web = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def respond(self):
                body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
                with web.lock:
                    web.requests.append((self.command, self.path, dict(self.headers), body))
                status, fields, text = web.answer(self.path, body)
                self.send_response(status)
                for name, value in fields.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text.encode())

            do_GET = do_POST = respond

            def log_message(self, *args):
                pass

        self.answer = answer
        self.requests = []
        self.lock = threading.Lock()
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.server.handle_error = lambda *args: None  # a relay that hangs up is no news
        if certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*certificate)
            self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self.url = "%s://%s:%d" % (
            "https" if certificate else "http", "localhost" if certificate else "127.0.0.1",
            self.server.server_address[1])
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.server.shutdown()
        self.server.server_close()

    def bodies(self):
        with self.lock:
            return [json.loads(body) for _, _, _, body in self.requests if body]

    def count(self):
        with self.lock:
            return len(self.requests)


class Judge(Web):
    """Allows what allow(question) says; None: no answer at all, for as long as it stays so."""

    def __init__(self, allow, **more):
        self.allow = allow
        self.more = more
        super().__init__(self.judge)

    def judge(self, path, body):
        question = json.loads(body)
        while (word := self.allow(question)) is None:
            time.sleep(0.01)
        if isinstance(word, tuple):
            return word
        return 200, {}, json.dumps(dict({"allow": word}, **self.more))
