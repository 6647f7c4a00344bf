# natrelay
# SPDX-License-Identifier: LGPL-2.1-or-later

"""Many requests over few connections: as Relay.request, but a connection is used until the relay closes it."""

import json

from relay import description, read_one


class KeptAlive:
    def __init__(self, relay):
        self.relay, self.connection = relay, None

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.close()

    def close(self):
        if self.connection is not None:
            self.connection.close()
        self.connection = None

    def request(self, method, path, token=None, body=None, fields=None):
        fields = dict(fields or {})
        if token is not None:
            fields["Authorization"] = "Bearer " + token
        if isinstance(body, (dict, list)):
            body = json.dumps(body)
        if body is not None:
            fields.setdefault("Content-Type", "application/json")
            fields["Content-Length"] = str(len(body.encode()))
        head = "%s %s HTTP/1.1\r\nHost: relay\r\n%s\r\n" % (method, path, "".join("%s: %s\r\n" % item for item in fields.items()))
        reply = self._ask((head + (body or "")).encode())
        if reply.fields.get("connection") == "close":
            self.close()
        if reply.status >= 400:
            reply.problem()
        return reply

    def _ask(self, data):
        """Once more over a new one, where the relay closed one that had idled."""
        if self.connection is not None:
            try:
                self.connection.sendall(data)
                reply = read_one(self.connection)
                if reply.status != 0:
                    return reply
            except OSError:
                pass
            self.close()
        self.connection = self.relay.tls()
        self.connection.sendall(data)
        return read_one(self.connection)

    def publish(self, stream, token, query=""):
        return self.request("POST", "/v1/streams/%s/publishers%s" % (stream, query), token, description(sum(stream.encode()) + 1))

    def subscribe(self, stream, token):
        return self.request("POST", "/v1/streams/%s/subscribers" % stream, token, {})
