# natrelay
# SPDX-License-Identifier: LGPL-2.1-or-later

"""examples/browser.py in Chromium: a person opens its page, and sees and hears the stream. In a network namespace of its
own, with an address besides the loopback's, which WebRTC does not use."""

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
# What has been played, by the browser's own account.
PLAYED = """
const done = arguments[arguments.length - 1], video = document.querySelector('video');
(connection ? connection.getStats() : Promise.resolve(new Map())).then((stats) => {
  const all = [...stats.values()], of = (kind) => all.find((s) => s.type === 'inbound-rtp' && s.kind === kind) || {};
  const codec = (s) => (all.find((c) => c.id === s.codecId) || {}).mimeType || '';
  done({frames: video.getVideoPlaybackQuality().totalVideoFrames, size: video.videoWidth + 'x' + video.videoHeight,
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


def source(relay, pictures):
    """Of small pictures, as this encoder makes them, and sound."""
    return Program(
        "gst-launch-1.0", "-q", *(
            "videotestsrc is-live=true pattern=ball ! %s ! natrelaysink name=end uri=%s "
            "audiotestsrc is-live=true samplesperbuffer=960 ! audioconvert ! opusenc ! end." % (pictures, uri(relay, "door"))).split(),
        NATRELAY_AUTH_TOKEN=relay.values["publish-token"])


def played(browser):
    return browser.run_until_called(PLAYED)


def wait_plays(browser, size):
    """Pictures and sound go on; what has been played by then."""
    browser.wait(lambda: played(browser)["size"] == size, WAIT)
    before = played(browser)
    browser.wait(lambda: played(browser)["frames"] > before["frames"] + 25, WAIT)
    browser.wait(lambda: played(browser)["sound"] > before["sound"] + 24000, WAIT)
    return played(browser)


def test_as_it_is():
    """H.264 and Opus of the example that sends; two browsers; and again when the sender comes back."""
    with Relay() as relay, Page(relay) as page, Browser() as one, Browser() as two:
        one.go(page.address)
        one.wait(lambda: played(one)["says"] == "nobody sends yet", WAIT)
        with example("send", relay, "door", "--test") as send:
            wait_tracks(relay, "door")
            found = wait_plays(one, "640x360")
            assert found["codecs"] == "video/h264 audio/opus" and found["says"] == "live", found
            assert page.count("track: .*anew") == 0, page.lines
            if PICTURES:
                one.screenshot(os.path.join(PICTURES, "browser.png"))
            two.go(page.address)
            wait_plays(two, "640x360")
            send.end()
        with source(relay, "video/x-raw,width=320,height=240 ! vp8enc deadline=1 keyframe-max-dist=60"):
            assert wait_plays(one, "320x240")["codecs"] == "video/vp8 audio/opus"
            wait_plays(two, "320x240")
        assert all("status of 503" in line for line in one.complaints()), "nobody sends yet"
        page.end()


def test_encoded_anew():
    """No browser plays H.264 of 4:4:4: it becomes VP8."""
    with Relay() as relay, Page(relay) as page, Browser() as browser:
        with source(relay, "video/x-raw,format=Y444,width=320,height=240 ! x264enc tune=zerolatency key-int-max=60"):
            page.wait("track: video H264, which is encoded anew")
            browser.go(page.address)
            found = wait_plays(browser, "320x240")
            assert found["codecs"] == "video/vp8 audio/opus", found
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
