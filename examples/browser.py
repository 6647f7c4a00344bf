#!/usr/bin/python3
# natrelay
# SPDX-License-Identifier: LGPL-2.1-or-later
"""A stream in a web browser: a page with a player, and WebRTC from here to there.

    NATRELAY_AUTH_TOKEN=… examples/browser.py natrelay://HOST/STREAM

    natrelaysrc ! tee ! depayloader ! payloader ! tee ! queue ! webrtcbin ))) browser
                                                      ! queue ! webrtcbin ))) another
                      ! queue ! decoder ! encoder ! tee ! queue ! webrtcbin ))) one that does not play what is sent

What the browser says that it plays of H.264, VP8, VP9, AV1, Opus and G.711 goes through as it is. Anything else is decoded once
for all who need it, while they do, and becomes VP8 or Opus: H.264 for Debian's Firefox, which has none in WebRTC, H.264 with B-frames,
and colours of 4:4:4. Needs Debian's python3-gi, gir1.2-gst-plugins-bad-1.0, gstreamer1.0-nice, gstreamer1.0-plugins-bad and -good,
gstreamer1.0-libav to decode H.264, and natrelay's plugin where GStreamer finds it (GST_PLUGIN_PATH).

Whoever opens the page sees the stream: from other machines only with --listen, and then over plain HTTP. For the world, put
a web server with TLS and a password in front. Where gst-plugins-rs is installed, its element webrtcsink does the same with an
encoder for each browser, which follows its link: natrelaysrc ! decodebin ! videoconvert ! webrtcsink."""

import argparse
import base64
import html
import http.server
import json
import os
import secrets
import signal
import sys
import threading

try:
    import gi

    gi.require_version("Gst", "1.0")
    gi.require_version("GstSdp", "1.0")
    gi.require_version("GstVideo", "1.0")
    gi.require_version("GstWebRTC", "1.0")
    from gi.repository import GLib, Gst, GstSdp, GstVideo, GstWebRTC
except (ImportError, ValueError) as error:
    print("browser: %s. Missing (Debian's names): python3-gi, gir1.2-gst-plugins-bad-1.0" % error, file=sys.stderr)
    sys.exit(3)

VIEWERS = 20  # at a time
WAIT_S = 10  # for a stream's tracks, and for a browser's answer
KEEP_S = 60  # what is encoded anew, after the last who needed it
NEEDED = {
    "natrelaysrc": "natrelay's plugin: GST_PLUGIN_PATH=build/gst/natrelay",
    "webrtcbin": "Debian: gstreamer1.0-plugins-bad",
    "nicesink": "Debian: gstreamer1.0-nice",
    "rtph264pay": "Debian: gstreamer1.0-plugins-good",
    "opusenc": "Debian: gstreamer1.0-plugins-base",
}

# New packets of the same media: one numbering from beginning to end, whoever publishes, and parameter sets before each picture
# that stands alone. Browsers decode H.264 of more profiles than they say; Constrained Baseline, 42e01f, they all say.
AS_IT_IS = {
    "H264": "rtph264depay name=head ! h264parse ! rtph264pay %s config-interval=-1 aggregate-mode=zero-latency ! "
            "capssetter caps=application/x-rtp,profile-level-id=42e01f",
    "VP8": "rtpvp8depay name=head ! rtpvp8pay %s picture-id-mode=15-bit",
    "VP9": "rtpvp9depay name=head ! rtpvp9pay %s picture-id-mode=15-bit",
    "AV1": "rtpav1depay name=head ! av1parse ! rtpav1pay %s",
    "OPUS": "rtpopusdepay name=head ! rtpopuspay %s",
    "PCMU": "rtppcmudepay name=head ! rtppcmupay %s",
    "PCMA": "rtppcmadepay name=head ! rtppcmapay %s",
}
CONVERTED = {
    "video": "queue name=head ! decodebin ! videoconvert ! "
             "vp8enc deadline=1 cpu-used=8 keyframe-max-dist=120 target-bitrate=2000000 ! rtpvp8pay %s picture-id-mode=15-bit",
    "audio": "queue name=head ! decodebin ! audioconvert ! audioresample ! opusenc ! rtpopuspay %s",
}
PAYLOAD_TYPE = {"video": 96, "audio": 97, "PCMU": 0, "PCMA": 8}
CHANGED = "the stream has changed"
ALL = frozenset(AS_IT_IS)
PAGE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "browser.html")


class Viewer:
    """One browser: a webrtcbin, and a queue for each track. Made and ended by the main thread."""

    def __init__(self, stream, known):
        self.id, self.stream, self.offer, self.offered = secrets.token_urlsafe(12), stream, None, threading.Event()
        self.ended = threading.Event()
        self.webrtc = Gst.ElementFactory.make("webrtcbin")
        self.webrtc.set_property("bundle-policy", GstWebRTC.WebRTCBundlePolicy.MAX_BUNDLE)
        if stream.stun:
            self.webrtc.set_property("stun-server", stream.stun)
        self.webrtc.connect("on-negotiation-needed", self.on_negotiation_needed)
        self.webrtc.connect("notify::ice-gathering-state", self.on_gathering)
        self.webrtc.connect("notify::connection-state", self.on_state)
        stream.pipeline.add(self.webrtc)
        self.branches = [(track, *self.branch(track.tee_for(self, known))) for track in stream.shown(known)]
        # From the end to the beginning: what is pushed into an element that does not run yet stops the branch for all.
        for element in [self.webrtc] + [queue for *_, queue in self.branches]:
            element.sync_state_with_parent()
        for _, _, pad, queue in self.branches:
            pad.link(queue.get_static_pad("sink"))

    def branch(self, tee):
        """Full queues lose their oldest: a slow browser holds up nobody."""
        queue = Gst.ElementFactory.make("queue")
        queue.set_property("leaky", 2)
        self.stream.pipeline.add(queue)
        sink = self.webrtc.request_pad_simple("sink_%u")
        sink.get_property("transceiver").set_property("direction", GstWebRTC.WebRTCRTPTransceiverDirection.SENDONLY)
        queue.get_static_pad("src").link(sink)
        return tee, tee.request_pad_simple("src_%u"), queue

    def on_negotiation_needed(self, webrtc):
        """Once each track has its caps. On a thread of webrtcbin's, as the next two."""
        if not self.offered.is_set() and self.offer is None:
            self.offer = ""
            webrtc.emit("create-offer", None, Gst.Promise.new_with_change_func(self.on_offer))

    def on_offer(self, promise):
        reply = promise.get_reply()  # the description lives as long as this
        self.webrtc.emit("set-local-description", reply.get_value("offer"), Gst.Promise.new())

    def on_gathering(self, webrtc, _property):
        if webrtc.get_property("ice-gathering-state") == GstWebRTC.WebRTCICEGatheringState.COMPLETE:
            self.offer = webrtc.get_property("local-description").sdp.as_text()
            self.offered.set()

    def on_state(self, webrtc, _property):
        state = webrtc.get_property("connection-state")
        if state in (GstWebRTC.WebRTCPeerConnectionState.FAILED, GstWebRTC.WebRTCPeerConnectionState.CLOSED):
            GLib.idle_add(self.stream.remove, self.id)

    def answer(self, text):
        result, sdp = GstSdp.SDPMessage.new_from_text(text)
        if result != GstSdp.SDPResult.OK:
            return False
        answer = GstWebRTC.WebRTCSessionDescription.new(GstWebRTC.WebRTCSDPType.ANSWER, sdp)
        self.webrtc.emit("set-remote-description", answer, Gst.Promise.new())
        return True

    def is_connected(self):
        return self.webrtc.get_property("connection-state") == GstWebRTC.WebRTCPeerConnectionState.CONNECTED

    def end(self):
        self.ended.set()
        self.left = len(self.branches)
        for track, tee, pad, queue in self.branches:
            unlink(tee, pad, self.on_unlinked)
            track.left_by(self)

    def on_unlinked(self):
        self.left -= 1
        if self.left == 0:
            self.stream.throw_away(self.webrtc, *(queue for *_, queue in self.branches))


class Track:
    """A pad of natrelaysrc: its packets, as browsers take them, in the one tee, and encoded anew in another while somebody needs that.
    Made on a streaming thread, all else on the main thread."""

    def __init__(self, stream, pad, about):
        self.stream, self.media, self.name = stream, about.get_string("media"), (about.get_string("encoding-name") or "").upper()
        self.passes, self.decodes = plays(self.name, about), decodes(about)
        self.number = PAYLOAD_TYPE.get(self.name, PAYLOAD_TYPE[self.media])
        self.branch, self.tee, self.anew, self.needed_by = None, None, None, set()
        say("track: %s%s" % (self, "" if self.passes else ", which is encoded anew for browsers" if self.decodes else
                             ", which cannot be shown: " + self.missing_for(ALL)))
        self.packets = new_tee()
        stream.pipeline.add(self.packets)
        if self.passes:
            self.branch, self.tee = stream.new_branch(AS_IT_IS[self.name], self.number)
            self.watch()
            self.packets.link(self.branch)
        self.packets.sync_state_with_parent()
        pad.link(self.packets.get_static_pad("sink"))

    def __str__(self):
        return "%s %s" % (self.media, self.name)

    # ---- What only the media shows: on a streaming thread ----

    def watch(self):
        head = self.branch.get_by_name("head")
        self.latest = None
        if self.name == "H264":
            head.get_static_pad("sink").add_probe(Gst.PadProbeType.BUFFER, self.on_packet)
        elif self.name == "VP9":
            head.get_static_pad("src").add_probe(Gst.PadProbeType.BUFFER, self.on_frame)

    def on_packet(self, _pad, info):
        """Pictures that are sent before those that they follow: time goes back. A browser shows a few of them in a second."""
        time = int.from_bytes(info.get_buffer().extract_dup(4, 4), "big")
        if self.latest is not None and 0 < (self.latest - time) % 2**32 < 2 * 90000:
            GLib.idle_add(self.does_not_pass, "has B-frames")
            return Gst.PadProbeReturn.REMOVE
        self.latest = time
        return Gst.PadProbeReturn.OK

    def on_frame(self, _pad, info):
        """A frame of VP9 begins with 2, in two bits, and its profile; that of the colours 4:2:0 with eight bits is 0."""
        first = info.get_buffer().extract_dup(0, 1)
        if first and first[0] & 0xC0 == 0x80 and first[0] & 0x30:
            GLib.idle_add(self.does_not_pass, "is of a profile that not all browsers play")
            return Gst.PadProbeReturn.REMOVE
        return Gst.PadProbeReturn.OK

    # ---- On the main thread ----

    def does_not_pass(self, why):
        """Whoever views comes again, and gets it encoded anew."""
        if self.passes and self.packets is not None:
            self.passes = False
            say("track: %s %s: it %s" % (self, why, "is encoded anew for browsers" if self.decodes else "cannot be shown: " + self.missing_for(ALL)))
            self.stream.remove_all()
        return GLib.SOURCE_REMOVE

    def missing_for(self, known):
        """Why somebody whose browser knows these does not get it; None if he does."""
        if self.passes and self.name in known or self.decodes:
            return None
        return "the browser does not play it, and nothing here decodes it" if self.passes else "nothing here takes it out of RTP and decodes it"

    def tee_for(self, viewer, known):
        if self.passes and self.name in known:
            return self.tee
        if self.anew is None:
            if self.passes:
                say("track: %s is encoded anew for a browser that does not play it" % self)
            self.anew = self.stream.new_branch(CONVERTED[self.media], PAYLOAD_TYPE[self.media])
            pad = self.packets.request_pad_simple("src_%u")
            pad.link(self.anew[0].get_static_pad("sink"))
            # The decoder begins with a picture that stands alone.
            self.packets.get_static_pad("sink").push_event(GstVideo.video_event_new_upstream_force_key_unit(Gst.CLOCK_TIME_NONE, True, 0))
        self.needed_by.add(viewer)
        return self.anew[1]

    def left_by(self, viewer):
        """Whoever comes again soon need not wait for a picture that stands alone."""
        self.needed_by.discard(viewer)
        if self.anew is not None and not self.needed_by:
            GLib.timeout_add_seconds(KEEP_S, self.spare, self.anew)

    def spare(self, anew):
        """Nobody needs it encoded anew any more: that is worth a processor."""
        if self.anew is anew and not self.needed_by:
            self.anew = None
            unlink(self.packets, anew[0].get_static_pad("sink").get_peer(), self.stream.throw_away, *anew)
        return GLib.SOURCE_REMOVE

    def end(self):
        self.stream.throw_away(self.packets, self.branch, self.tee, *(self.anew or ()))
        self.packets = self.anew = None


class Stream:
    """natrelaysrc, its tracks, and those who view."""

    def __init__(self, options):
        self.stun, self.problem = options.stun_server, None
        self.tracks, self.viewers, self.loop = {}, {}, GLib.MainLoop()
        self.pipeline = Gst.Pipeline()
        self.source = Gst.ElementFactory.make("natrelaysrc")
        self.source.set_property("uri", options.uri)
        self.source.connect("pad-added", self.on_pad_added)
        self.source.connect("pad-removed", self.on_pad_removed)
        self.pipeline.add(self.source)
        bus = self.pipeline.get_bus()
        bus.add_signal_watch()
        bus.connect("message::error", self.on_error)
        bus.connect("message::warning", lambda bus, message: say("warning: " + message.parse_warning()[0].message))
        bus.connect("message::element", self.on_element)

    # ---- Tracks: on a streaming thread ----

    def on_pad_added(self, _source, pad):
        caps = pad.get_current_caps() or pad.query_caps(None)
        about = caps.get_structure(0)
        if about.get_string("media") in CONVERTED:
            GLib.idle_add(self.track_changed, pad.get_name(), Track(self, pad, about))

    def on_pad_removed(self, _source, pad):
        GLib.idle_add(self.track_changed, pad.get_name(), None)

    def new_branch(self, text, number):
        """From packets to a tee that hands others out; runs before anything comes."""
        branch = Gst.parse_bin_from_description(text % ("mtu=1200 pt=%d" % number) + " name=tail", False)
        for end, direction in (("head", "sink"), ("tail", "src")):
            branch.add_pad(Gst.GhostPad.new(direction, branch.get_by_name(end).get_static_pad(direction)))
        tee = new_tee()
        for element in (tee, branch):
            self.pipeline.add(element)
        branch.link(tee)
        for element in (tee, branch):
            element.sync_state_with_parent()
        return branch, tee

    # ---- On the main thread ----

    def track_changed(self, name, track):
        """Whoever views has other tracks from now on, and comes again for them."""
        self.remove_all()
        old = self.tracks.pop(name, None)
        if old is not None:
            old.end()
        if track is not None:
            self.tracks[name] = track
        return GLib.SOURCE_REMOVE

    def throw_away(self, *elements):
        for element in elements:
            if element is not None:
                element.set_state(Gst.State.NULL)
                self.pipeline.remove(element)

    def shown(self, known):
        return [track for track in self.tracks.values() if not track.missing_for(known)]

    def without(self, known):
        """What a browser that knows these does not get, and why."""
        return ["%s (%s)" % (track, track.missing_for(known)) for track in self.tracks.values() if track.missing_for(known)]

    def why_not(self, known):
        """It cannot view at the moment."""
        if not self.shown(known):
            return "cannot be shown: " + ", ".join(self.without(known)) if self.tracks else "nobody sends yet"
        return "as many watch as may" if len(self.viewers) >= VIEWERS else None

    def add(self, known):
        if self.why_not(known):
            return None
        viewer = Viewer(self, known)
        self.viewers[viewer.id] = viewer
        GLib.timeout_add_seconds(2 * WAIT_S, self.remove_if_idle, viewer)
        return viewer

    def remove(self, name):
        viewer = self.viewers.pop(name, None)
        if viewer is not None:
            viewer.end()
        return GLib.SOURCE_REMOVE

    def remove_all(self):
        for viewer in list(self.viewers):
            self.remove(viewer)

    def remove_if_idle(self, viewer):
        if not viewer.is_connected():
            self.remove(viewer.id)
        return GLib.SOURCE_REMOVE

    def on_error(self, _bus, message):
        """A browser's own trouble ends it alone."""
        error, debug = message.parse_error()
        for viewer in list(self.viewers.values()):
            if message.src == viewer.webrtc or message.src.has_as_ancestor(viewer.webrtc):
                self.remove(viewer.id)
                return
        self.problem = "%s (%s)" % (error.message, debug)
        self.loop.quit()

    def on_element(self, _bus, message):
        said = message.get_structure()
        if said.get_name() == "natrelay-connected":
            say("connected over " + said.get_string("transport"))
        elif said.get_name() == "natrelay-connection-lost":
            say("lost: " + said.get_string("text"))

    # ---- From threads of the HTTP server ----

    def call(self, function, *arguments):
        """On the main thread, and what it gives."""
        done, result = threading.Event(), []

        def run():
            result.append(function(*arguments))
            done.set()
            return GLib.SOURCE_REMOVE

        GLib.idle_add(run)
        return result[0] if done.wait(WAIT_S) else None

    def run(self):
        self.pipeline.set_state(Gst.State.PLAYING)
        for number in (signal.SIGINT, signal.SIGTERM):
            GLib.unix_signal_add(GLib.PRIORITY_DEFAULT, number, self.loop.quit)
        self.loop.run()
        self.remove_all()
        self.pipeline.set_state(Gst.State.NULL)


class Handler(http.server.BaseHTTPRequestHandler):
    """GET / is the page; POST /viewers, with what the browser plays (["H264", …]), an offer and what is missing of the stream;
    POST /viewers/ID the answer to it, DELETE /viewers/ID the end; GET /viewers/ID is answered once it has ended, or with 204 after a while."""

    protocol_version = "HTTP/1.1"
    timeout = 30
    stream = page = None

    def reply(self, status, text="", kind="text/plain", **fields):
        data = text.encode()
        self.send_response(status)
        for name, value in dict(fields, Content_Type=kind + "; charset=utf-8", Content_Length=len(data), Cache_Control="no-store").items():
            self.send_header(name.replace("_", "-"), str(value))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format, *args):  # pylint: disable=redefined-builtin
        pass

    def viewer(self):
        return self.stream.viewers.get(self.path.rpartition("/viewers/")[2])

    def do_GET(self):
        viewer = self.viewer()
        if self.path == "/":
            self.reply(200, self.page, "text/html")
        elif viewer is None:
            self.reply(404, "not here")
        elif viewer.ended.wait(WAIT_S):
            self.reply(200, CHANGED)
        else:
            self.reply(204)

    def do_POST(self):
        body = self.rfile.read(min(int(self.headers.get("Content-Length", 0)), 65536)).decode("utf-8", "replace")
        if self.path == "/viewers":
            self.offer(body)
        elif self.viewer() is None:
            self.reply(404, CHANGED)
        elif not self.viewer().answer(body):
            self.reply(400, "no session description")
        else:
            self.reply(204)

    def offer(self, body):
        try:
            known = ALL.intersection(str(name).upper() for name in json.loads(body)) if body else ALL
        except (ValueError, TypeError):
            self.reply(400, "no list of codecs")
            return
        viewer = self.stream.call(self.stream.add, known)
        if viewer is None:
            self.reply(503, self.stream.call(self.stream.why_not, known) or "busy")
        elif not viewer.offered.wait(WAIT_S):
            self.stream.call(self.stream.remove, viewer.id)
            self.reply(503, "nothing comes at the moment")
        else:
            document = {"sdp": viewer.offer, "without": self.stream.without(known)}
            self.reply(201, json.dumps(document), "application/json", Location="/viewers/" + viewer.id)

    def do_DELETE(self):
        self.stream.call(self.stream.remove, self.path.rpartition("/")[2])
        self.reply(204)


def say(text):
    print(text, flush=True)


def new_tee():
    tee = Gst.ElementFactory.make("tee")
    tee.set_property("allow-not-linked", True)
    return tee


def unlink(tee, pad, then, *arguments):
    """Between two packets, so that they never meet an element that is gone; and then, on the main thread."""
    def on_main():
        tee.release_request_pad(pad)
        then(*arguments)
        return GLib.SOURCE_REMOVE

    def on_idle(_pad, _info):
        """On the branch's thread, or at once on ours."""
        pad.unlink(pad.get_peer())
        GLib.idle_add(on_main)
        return Gst.PadProbeReturn.REMOVE

    pad.add_probe(Gst.PadProbeType.IDLE, on_idle)


def h264_profile(caps):
    """profile_idc of its sequence parameter set, or of what the description says; None if neither is there."""
    for text in (caps.get_string("sprop-parameter-sets") or "").split(","):
        data = base64.b64decode(text)
        if len(data) > 1 and data[0] & 31 == 7:
            return data[1]
    text = caps.get_string("profile-level-id")
    return int(text[:2], 16) if text else None


def plays(name, caps):
    """Browsers take it as it is. Of H.264 they know pictures of 4:2:0 with eight bits: profiles Baseline, Main and High."""
    if name == "H264":
        return h264_profile(caps) in (66, 77, 100, None)
    return name in AS_IT_IS and all(Gst.ElementFactory.find("rtp%s%s" % (name.lower(), end)) for end in ("pay", "depay"))


def factories(kind, caps):
    every = Gst.ElementFactory.list_get_elements(kind, Gst.Rank.MARGINAL)
    return Gst.ElementFactory.list_filter(every, caps, Gst.PadDirection.SINK, False)


def decodes(about):
    """Something takes it out of RTP, and something decodes what that gives."""
    caps = Gst.Caps.new_empty()
    caps.append_structure(about.copy())
    given = [template.get_caps() for factory in factories(Gst.ELEMENT_FACTORY_TYPE_DEPAYLOADER, caps)
             for template in factory.get_static_pad_templates() if template.direction == Gst.PadDirection.SRC]
    raw = Gst.Caps.from_string("video/x-raw; audio/x-raw")
    return any(what.can_intersect(raw) or factories(Gst.ELEMENT_FACTORY_TYPE_DECODER, what) for what in given)


def page(uri):
    name = uri.partition("?")[0].partition("://")[2].partition("/")[2]
    with open(PAGE, encoding="utf-8") as file:
        return file.read().replace("NAME", html.escape(name))


def missing():
    return ["    %s (%s)" % item for item in NEEDED.items() if Gst.ElementFactory.find(item[0]) is None]


def main():
    parser = argparse.ArgumentParser(description="Shows a natrelay stream in web browsers.")
    parser.add_argument("uri", nargs="?", help="natrelay://HOST/STREAM, with tls-fingerprint= where the relay needs it")
    parser.add_argument("--listen", default="127.0.0.1", metavar="ADDRESS",
                        help="where the page is (default: 127.0.0.1, for this machine's browsers alone; 0.0.0.0 lets everybody who "
                             "reaches this machine watch)")
    parser.add_argument("--port", type=int, default=8080, help="of the page (default: 8080; 0 takes a free one)")
    parser.add_argument("--stun-server", metavar="stun://HOST:PORT", help="where this machine is behind a NAT: what finds its outside address")
    parser.add_argument("--check", action="store_true", help="only say whether all that it takes is installed")
    options = parser.parse_args()
    Gst.init(None)
    if missing():
        print("browser: GStreamer has not all that it takes. Missing:\n" + "\n".join(missing()), file=sys.stderr)
        return 3
    if options.check:
        say("all there")
        return 0
    if options.uri is None:
        parser.error("what is to be shown? Give a URI")
    Handler.stream = stream = Stream(options)
    Handler.page = page(options.uri)
    server = http.server.ThreadingHTTPServer((options.listen, options.port), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    say("page: http://%s:%d/" % (options.listen, server.server_port))
    stream.run()
    if stream.problem:
        print("error: " + stream.problem, file=sys.stderr)
    return 1 if stream.problem else 0


if __name__ == "__main__":
    sys.exit(main())
