# natrelay
# SPDX-License-Identifier: LGPL-2.1-or-later

"""A browser, driven by the commands of the W3C's WebDriver. Chromium takes them over HTTP by way of chromedriver; Firefox itself,
by the same names, over its own protocol Marionette, as Debian has no geckodriver. NATRELAY_BROWSER says which one, chromium or
firefox. Standard library only."""

import base64
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

ELEMENT = "element-6066-11e4-a52e-4f735466cecf"  # the protocol's name for "this is an element"
NAME = os.environ.get("NATRELAY_BROWSER", "chromium")
START_S = 60


def skip_without():
    if all(shutil.which(program) for program in Browser.PROGRAMS):
        return
    print("1..0 # SKIP %s is not installed" % " or ".join(Browser.PROGRAMS))
    sys.exit(os.environ.get("CI") == "true")


class Driven:
    """What a person and a test do with either."""

    def __init__(self, width=1280, height=900):
        self.profile = tempfile.TemporaryDirectory(prefix="natrelay-%s-" % NAME, ignore_cleanup_errors=True)
        self.start(width, height)
        self.call("SetTimeouts", script=240000)

    def go(self, url):
        self.call("Navigate", url=url)

    def run(self, script, *arguments):
        return self.call("ExecuteScript", script=script, args=list(arguments))

    def run_until_called(self, script, *arguments):
        """The script's last argument is a function that it calls with its result."""
        return self.call("ExecuteAsyncScript", script=script, args=list(arguments))

    def find(self, selector):
        return self.call("FindElement", using="css selector", value=selector)[ELEMENT]

    def text(self, selector):
        return self.run("const e = document.querySelector(arguments[0]); return e && e.innerText", selector)

    def is_shown(self, selector):
        return self.run("const e = document.querySelector(arguments[0]); return Boolean(e && e.checkVisibility())", selector)

    def type(self, selector, text):
        self.call("ElementSendKeys", id=self.find(selector), text=text)

    def click(self, selector):
        self.call("ElementClick", id=self.find(selector))

    def press(self, *keys):
        """As a person does, wherever the focus is."""
        actions = [{"type": kind, "value": key} for key in keys for kind in ("keyDown", "keyUp")]
        self.call("PerformActions", actions=[{"type": "key", "id": "keyboard", "actions": actions}])

    def screenshot(self, path):
        with open(path, "wb") as f:
            f.write(base64.b64decode(self.call("TakeScreenshot", full=False)))

    def wait(self, condition, seconds=30):
        end = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < end, ("waited in vain", self.text("body")[:2000])
            time.sleep(0.05)

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        try:
            self.quit()
        finally:
            self.process.terminate()
            self.process.wait(20)
            self.profile.cleanup()


class Chromium(Driven):
    PROGRAMS = ("chromium", "chromedriver")
    PATHS = {
        "NewSession": "/session", "DeleteSession": "", "SetTimeouts": "/timeouts", "Navigate": "/url", "ExecuteScript": "/execute/sync",
        "ExecuteAsyncScript": "/execute/async", "FindElement": "/element", "ElementSendKeys": "/element/%(id)s/value",
        "ElementClick": "/element/%(id)s/click", "PerformActions": "/actions", "TakeScreenshot": "/screenshot",
        "devtools": "/goog/cdp/execute", "log": "/se/log"}
    METHODS = {"DeleteSession": "DELETE", "TakeScreenshot": "GET"}

    def start(self, width, height):
        self.process = subprocess.Popen(["chromedriver", "--port=0"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        for line in self.process.stdout:
            if "started successfully on port" in line:
                self.base = "http://127.0.0.1:%s" % line.split()[-1].strip(".")
                break
        arguments = ["--headless=new", "--disable-gpu", "--hide-scrollbars", "--user-data-dir=" + self.profile.name, "--force-color-profile=srgb",
                     "--window-size=%d,%d" % (width, height), "--no-first-run", "--disable-background-networking"]
        if os.geteuid() == 0:
            arguments.append("--no-sandbox")
        answer = self.call("NewSession", capabilities={"alwaysMatch": {
            "browserName": "chrome", "acceptInsecureCerts": True, "goog:loggingPrefs": {"browser": "ALL"},
            "goog:chromeOptions": {"args": arguments}}})
        self.base += "/session/" + answer["sessionId"]
        self.devtools("Performance.enable", timeDomain="threadTicks")

    def quit(self):
        try:
            self.call("DeleteSession")
        finally:
            self.process.stdout.close()

    def call(self, name, **body):
        method = self.METHODS.get(name, "POST")
        request = urllib.request.Request(self.base + self.PATHS[name] % body, method=method, headers={"Content-Type": "application/json"},
                                         data=json.dumps(body).encode() if method == "POST" else None)
        try:
            # Not through a proxy of the environment.
            with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=300) as reply:
                return json.load(reply)["value"]
        except urllib.error.HTTPError as e:
            raise AssertionError("%s %s: %s" % (name, body, e.read()[:600].decode())) from None

    def devtools(self, command, **parameters):
        return self.call("devtools", cmd=command, params=parameters)

    def work(self):
        """Milliseconds of a processor that the page's main thread has used."""
        metrics = self.devtools("Performance.getMetrics")["metrics"]
        return 1000 * next(m["value"] for m in metrics if m["name"] == "TaskDuration")

    def look(self, width, height, dark=False, scale=1, phone=False):
        self.devtools("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=scale, mobile=phone)
        self.devtools("Emulation.setEmulatedMedia", features=[
            {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}])

    def complaints(self):
        """What the console says of errors since the last question; not of requests that were refused."""
        return [e["message"] for e in self.call("log", type="browser")
                if e["level"] == "SEVERE" and "with a status of 40" not in e["message"]]


# Firefox's own window, from which it looks at the page: as its tools for developers do.
LOOK = """
const [width, height, dark, scale, phone] = arguments, page = gBrowser.selectedBrowser, context = page.browsingContext;
for (const [name, value] of [['width', width], ['height', height]])
  for (const limit of ['min-', 'max-', '']) page.style.setProperty(limit + name, value + 'px');
context.inRDMPane = phone;
context.overrideDPPX = scale;
context.prefersColorSchemeOverride = dark ? 'dark' : 'light';
"""
COMPLAINTS = """
const said = Services.console.getMessageArray().filter((m) => m instanceof Ci.nsIScriptError
  && !(m.flags & Ci.nsIScriptError.warningFlag) && /^https?:/.test(m.sourceName));
Services.console.reset();
return said.map((m) => m.errorMessage);
"""


class Firefox(Driven):
    PROGRAMS = ("firefox-esr",)

    def start(self, width, height):
        with open(os.path.join(self.profile.name, "user.js"), "w", encoding="utf-8") as f:
            f.write('user_pref("marionette.port", 0);\n')
        self.process = subprocess.Popen(
            ["firefox-esr", "--headless", "--marionette", "--remote-allow-system-access", "--no-remote", "--profile", self.profile.name,
             "--width=%d" % width, "--height=%d" % height, "about:blank"],
            # Its settings and caches in the profile, too.
            env=dict(os.environ, HOME=self.profile.name), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.socket = socket.create_connection(("127.0.0.1", self.port()), timeout=300)
        self.reader = self.socket.makefile("rb")
        self.receive()
        self.called = 0
        self.command("WebDriver:NewSession", acceptInsecureCerts=True)

    def port(self):
        """It writes there which one it took."""
        path, end = os.path.join(self.profile.name, "MarionetteActivePort"), time.monotonic() + START_S
        while True:
            assert time.monotonic() < end and self.process.poll() is None, "Firefox does not start"
            try:
                with open(path, encoding="utf-8") as f:
                    return int(f.read())
            except (FileNotFoundError, ValueError):
                time.sleep(0.05)

    def quit(self):
        try:
            self.command("Marionette:Quit", flags=["eForceQuit"])
            self.process.wait(60)
        finally:
            self.reader.close()
            self.socket.close()

    def receive(self):
        """LENGTH:JSON."""
        length = b""
        while not length.endswith(b":"):
            piece = self.reader.read(1)
            assert piece, "Firefox has gone"
            length += piece
        return json.loads(self.reader.read(int(length[:-1])))

    def command(self, name, **body):
        """[0, number, name, parameters] is answered by [1, number, error, result]."""
        self.called += 1
        data = json.dumps([0, self.called, name, body]).encode()
        self.socket.sendall(b"%d:%b" % (len(data), data))
        _, number, error, result = self.receive()
        assert number == self.called and error is None, "%s %s: %s" % (name, body, error)
        return result

    def call(self, name, **body):
        return self.command("WebDriver:" + name, **body).get("value")

    def in_window(self, script, *arguments):
        """Not in the page, but in the window around it, which may do more."""
        self.command("Marionette:SetContext", value="chrome")
        try:
            return self.run(script, *arguments)
        finally:
            self.command("Marionette:SetContext", value="content")

    def work(self):
        """Milliseconds of a processor that the page's main thread has used."""
        page = self.in_window("return gBrowser.selectedBrowser.browsingContext.currentWindowGlobal.osPid")
        with open("/proc/%d/task/%d/schedstat" % (page, page), encoding="utf-8") as f:
            return int(f.read().split()[0]) / 1e6

    def look(self, width, height, dark=False, scale=1, phone=False):
        self.in_window(LOOK, width, height, dark, scale, phone)
        self.wait(lambda: self.run("return innerWidth + ' ' + innerHeight") == "%d %d" % (width, height))

    def complaints(self):
        """What the console says of errors since the last question."""
        return self.in_window(COMPLAINTS)


Browser = {"chromium": Chromium, "firefox": Firefox}[NAME]
KEY = {"enter": "\ue007", "escape": "\ue00c", "tab": "\ue004", "down": "\ue015", "page down": "\ue00f"}
