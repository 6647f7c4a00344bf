#!/usr/bin/python3
# natrelay
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Saves what a stream shows right now as a PNG file: natrelaysrc from Python, with all that the bus says.

    NATRELAY_AUTH_TOKEN=… examples/snapshot.py natrelay://HOST/STREAM picture.png

Needs python3-gi and gir1.2-gstreamer-1.0 (Debian's names), and natrelay's plugin where GStreamer finds it
(GST_PLUGIN_PATH)."""

import argparse
import signal
import sys

try:
    import gi

    gi.require_version("Gst", "1.0")
    from gi.repository import GLib, Gst
except (ImportError, ValueError) as error:
    print("snapshot: %s. Missing (Debian's names): python3-gi, gir1.2-gstreamer-1.0" % error, file=sys.stderr)
    sys.exit(3)

# decodebin takes whatever the stream's picture is; pictures come to on_picture(). Of a track that is not linked, as the
# sound here, nothing is decoded.
PIPELINE = (
    "natrelaysrc name=source  source.video_0 ! decodebin ! videoconvert ! pngenc ! "
    "fakesink name=pictures signal-handoffs=true sync=false"
)


class Snapshot:
    """Runs until there is a picture, an error, or no time left. `problem` is None, or a sentence."""

    def __init__(self, uri, path, seconds):
        self.problem = "nothing came within %g s: is anybody sending?" % seconds
        self.path, self.loop = path, GLib.MainLoop()
        self.pipeline = Gst.parse_launch(PIPELINE)
        self.pipeline.get_by_name("pictures").connect("handoff", self.on_picture)
        self.source = self.pipeline.get_by_name("source")
        self.source.set_property("uri", uri)
        # A thread of the element's calls it; a token that ran out can be replaced so.
        self.source.connect("request-auth-token", lambda source: None)
        bus = self.pipeline.get_bus()
        bus.add_signal_watch()
        bus.connect("message::error", self.on_error)
        bus.connect("message::warning", self.on_warning)
        bus.connect("message::element", self.on_element)
        GLib.timeout_add(int(seconds * 1000), self.loop.quit)
        GLib.unix_signal_add(GLib.PRIORITY_DEFAULT, signal.SIGINT, self.loop.quit)

    def on_error(self, bus, message):
        error, _debug = message.parse_error()
        self.problem = error.message
        self.loop.quit()

    def on_warning(self, bus, message):
        """It will be tried again, and says so once for each kind of trouble."""
        warning, _debug = message.parse_warning()
        print("warning: %s" % warning.message, flush=True)

    def on_element(self, bus, message):
        said = message.get_structure()
        if said.get_name() == "natrelay-connected":
            print("connected over %s as %s" % (said.get_string("transport"), said.get_string("mapped-address")),
                  flush=True)
        elif said.get_name() == "natrelay-connection-lost":
            print("lost: %s" % said.get_string("text"), flush=True)

    def on_picture(self, sink, buffer, pad):
        """On a streaming thread. The first is what is wanted; more may come until the pipeline stands still."""
        if self.problem is None:
            return
        with open(self.path, "wb") as file:
            file.write(buffer.extract_dup(0, buffer.get_size()))
        self.problem = None
        GLib.idle_add(self.loop.quit)

    def run(self):
        self.pipeline.set_state(Gst.State.PLAYING)
        try:
            self.loop.run()
        finally:
            self.pipeline.set_state(Gst.State.NULL)
        return self.problem


def main():
    parser = argparse.ArgumentParser(description="Saves what a natrelay stream shows right now.")
    parser.add_argument("uri", help="natrelay://HOST/STREAM, with tls-fingerprint= where the relay needs it")
    parser.add_argument("file", help="PNG")
    parser.add_argument("--seconds", type=float, default=20, help="to wait for a picture (default: 20)")
    options = parser.parse_args()
    Gst.init(None)
    if Gst.ElementFactory.find("natrelaysrc") is None:
        print("natrelaysrc is not there: set GST_PLUGIN_PATH to build/gst/natrelay", file=sys.stderr)
        return 2
    problem = Snapshot(options.uri, options.file, options.seconds).run()
    if problem is not None:
        print("no picture: %s" % problem, file=sys.stderr)
        return 1
    print("saved: %s" % options.file)
    return 0


if __name__ == "__main__":
    sys.exit(main())
