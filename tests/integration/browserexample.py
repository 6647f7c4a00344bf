# natrelay
# SPDX-License-Identifier: LGPL-2.1-or-later

"""examples/browser.py in a browser (webdriver.py): a person opens its page, and sees and hears the stream. In a network namespace of
its own, with an address besides the loopback's, which WebRTC does not use."""

import os
import subprocess
import sys

from examples import Program, SOURCE, WAIT, example, uri, wait_tracks
from relay import Relay, run
from webdriver import Browser, skip_without

PICTURES = os.environ.get("NATRELAY_SCREENSHOTS")
ADDRESS = "192.0.2.1"
NETWORK = ("ip link set lo up && ip link add here type veth peer name there && ip link set there up && ip link set here up && "
           "ip addr add %s/24 dev here && ip route add default dev here" % ADDRESS)
# What has been played, by the browser's own account. Firefox runs this beside the page, whose names eval alone sees then.
PLAYED = """
const done = arguments[arguments.length - 1], video = document.querySelector('video'), page = window.eval('connection');
// Firefox never says what a connection did that is closed meanwhile.
const late = new Promise((give) => setTimeout(() => give(new Map()), 1000));
Promise.race([page ? page.getStats() : new Map(), late]).then((stats) => {
  const all = [...stats.values()], of = (kind) => all.find((s) => s.type === 'inbound-rtp' && s.kind === kind) || {};
  const codec = (s) => (all.find((c) => c.id === s.codecId) || {}).mimeType || '';
  done({frames: of('video').framesDecoded || 0, size: video.videoWidth + 'x' + video.videoHeight,
        sound: of('audio').totalSamplesReceived || 0, codecs: (codec(of('video')) + ' ' + codec(of('audio'))).toLowerCase(),
        says: document.querySelector('[role=status]').textContent});
});
"""


class Page(Program):
    def __init__(self, relay, stream="door"):
        super().__init__(sys.executable, "-B", os.path.join(SOURCE, "examples/browser.py"), uri(relay, stream), "--port", "0",
                         "--listen", ADDRESS, NATRELAY_AUTH_TOKEN=relay.values["subscribe-token"])
        self.address = self.wait("page: ").split()[1]

    def __exit__(self, *exc):
        super().__exit__(*exc)
        if exc[0] is not None:
            for line in self.lines:
                print("# page: " + line)


SMALL = "videotestsrc is-live=true pattern=ball ! video/x-raw,format=%s,width=320,height=240,framerate=30/1 ! "
OPUS = "audiotestsrc is-live=true samplesperbuffer=960 ! audioconvert ! opusenc ! end."
TELEPHONE = "audiotestsrc is-live=true samplesperbuffer=160 ! audio/x-raw,rate=8000,channels=1 ! %s ! end."
VP8 = "vp8enc deadline=1 keyframe-max-dist=60"
VP9 = "vp9enc deadline=1 cpu-used=8 keyframe-max-dist=60"


def source(relay, pictures, sound=OPUS, colours="I420"):
    """Of small pictures, as this encoder makes them, and sound."""
    text = "%s ! natrelaysink name=end uri=%s %s" % (SMALL % colours + pictures, uri(relay, "door"), sound)
    return Program("gst-launch-1.0", "-q", *text.split(), NATRELAY_AUTH_TOKEN=relay.values["publish-token"])


# Each thing that the page has said since.
SAID = "const s = document.querySelector('[role=status]'); window.said = []; new MutationObserver(() => said.push(s.textContent)).observe(s, {childList: true})"


def knows(browser, codec):
    return browser.run("return RTCRtpReceiver.getCapabilities('video').codecs.some((c) => c.mimeType === arguments[0])", codec)


def played(browser):
    return browser.run_until_called(PLAYED)


def wait_plays(browser, size):
    """Pictures and half a second of sound at least (8,000 samples a second on a telephone) go on; what has been played by then."""
    browser.wait(lambda: played(browser)["size"] == size, WAIT)
    before = played(browser)
    browser.wait(lambda: played(browser)["frames"] > before["frames"] + 25, WAIT)
    wait_heard(browser)
    return played(browser)


def wait_heard(browser):
    before = played(browser)
    rate = 8000 if "pcm" in before["codecs"] else 48000
    browser.wait(lambda: played(browser)["sound"] > before["sound"] + rate // 2, WAIT)


def test_as_it_is():
    """H.264 and Opus of the example that sends; two browsers; and again when the sender comes back. A browser that has no H.264
    gets VP8."""
    with Relay() as relay, Page(relay) as page, Browser() as one, Browser() as two:
        one.go(page.address)
        one.wait(lambda: played(one)["says"] == "nobody sends yet", WAIT)
        with example("send", relay, "door", "--test") as send:
            wait_tracks(relay, "door")
            found = wait_plays(one, "640x360")
            has = knows(one, "video/H264")
            assert found["codecs"] == "video/%s audio/opus" % ("h264" if has else "vp8") and found["says"] == "live", found
            assert page.count("track: .*anew") == (0 if has else 1), page.lines
            if PICTURES:
                one.screenshot(os.path.join(PICTURES, "browser.png"))
                one.look(390, 844, phone=True)
                one.screenshot(os.path.join(PICTURES, "browser-phone.png"))
            two.go(page.address)
            wait_plays(two, "640x360")
            one.run("window.eval(arguments[0])", SAID)
            send.end()
        with source(relay, VP8):
            assert wait_plays(one, "320x240")["codecs"] == "video/vp8 audio/opus"
            said = one.run("return window.eval('said')")
            assert "the stream has changed" in said and "interrupted" not in said, said
            wait_plays(two, "320x240")
        with source(relay, VP9, TELEPHONE % "mulawenc"):
            one.wait(lambda: "pcmu" in played(one)["codecs"], WAIT)
            assert wait_plays(one, "320x240")["codecs"] == "video/vp9 audio/pcmu"
            wait_plays(two, "320x240")
        with source(relay, VP8, TELEPHONE % "alawenc"):
            one.wait(lambda: "pcma" in played(one)["codecs"], WAIT)
            assert wait_plays(one, "320x240")["codecs"] == "video/vp8 audio/pcma"
        assert all("status of 503" in line for line in one.complaints()), "nobody sends yet"
        page.end()


def wait_anew(pictures, says, colours="I420"):
    with Relay() as relay, Page(relay) as page, Browser() as browser:
        with source(relay, pictures, colours=colours):
            page.wait("track: video " + says)
            browser.go(page.address)
            found = wait_plays(browser, "320x240")
            assert found["codecs"] == "video/vp8 audio/opus", found
        page.end()


def test_encoded_anew():
    """No browser plays H.264 of 4:4:4: it becomes VP8."""
    wait_anew("x264enc tune=zerolatency key-int-max=60", "H264, which is encoded anew", "Y444")


def test_b_frames():
    """Of H.264 whose pictures are sent in another order than shown, Chromium showed one in a second, and asked for more key frames."""
    wait_anew("x264enc key-int-max=60 bframes=2", "H264 has B-frames: it is encoded anew")


def test_colours():
    """VP9 of 4:4:4 is another profile, which Firefox does not play."""
    wait_anew(VP9, "VP9 is of a profile .* it is encoded anew", "Y444")


def test_what_cannot_be_shown():
    """Neither page nor terminal is silent about it, and the rest plays. What is called Nonsense nobody decodes."""
    with Relay() as relay, Page(relay) as page, Browser() as browser:
        nonsense = VP8 + " ! rtpvp8pay ! capssetter caps=application/x-rtp,encoding-name=NONSENSE replace=false"
        with source(relay, nonsense):
            page.wait("track: video NONSENSE, which cannot be shown: nothing here takes it out of RTP and decodes it")
            page.wait("track: audio OPUS")
            browser.go(page.address)
            browser.wait(lambda: played(browser)["codecs"] == " audio/opus", WAIT)
            wait_heard(browser)
            said = played(browser)["says"]
            assert said == "live; not shown: video NONSENSE (nothing here takes it out of RTP and decodes it)", said
        page.end()


def in_own_network():
    """This program once more, where nothing that it sends leaves it."""
    root = [] if os.geteuid() == 0 else ["--map-root-user"]
    sys.stdout.flush()
    os.execvp("unshare", ["unshare", "--net", *root, "sh", "-c", NETWORK + ' && exec "$@"', "sh", sys.executable, "-B",
                          os.path.abspath(__file__), *sys.argv[1:]])


if __name__ == "__main__":
    skip_without()
    if os.environ.get("NATRELAY_OWN_NETWORK") != "yes":
        os.environ["NATRELAY_OWN_NETWORK"] = "yes"
        in_own_network()
    if subprocess.run([sys.executable, "-B", os.path.join(SOURCE, "examples/browser.py"), "--check"], check=False,
                      stdout=subprocess.DEVNULL).returncode:
        print("1..0 # SKIP what examples/browser.py takes is not installed")
        sys.exit(os.environ.get("CI") == "true")
    run(dict(globals()))
