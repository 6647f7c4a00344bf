# natrelay
# SPDX-License-Identifier: LGPL-2.1-or-later

"""Chromium, driven by the W3C's WebDriver protocol over plain HTTP. Standard library only."""

import base64
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

ELEMENT = "element-6066-11e4-a52e-4f735466cecf"  # the protocol's name for "this is an element"


def skip_without():
    if shutil.which("chromedriver") and shutil.which("chromium"):
        return
    print("1..0 # SKIP chromium or chromium-driver is not installed")
    sys.exit(os.environ.get("CI") == "true")


class Browser:
    def __init__(self, width=1280, height=900):
        self.profile = tempfile.TemporaryDirectory(prefix="natrelay-chromium-")
        self.driver = subprocess.Popen(["chromedriver", "--port=0"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        for line in self.driver.stdout:
            if "started successfully on port" in line:
                self.base = "http://127.0.0.1:%s" % line.split()[-1].strip(".")
                break
        arguments = ["--headless=new", "--disable-gpu", "--hide-scrollbars", "--user-data-dir=" + self.profile.name, "--force-color-profile=srgb",
                     "--window-size=%d,%d" % (width, height), "--no-first-run", "--disable-background-networking"]
        if os.geteuid() == 0:
            arguments.append("--no-sandbox")
        answer = self.call("POST", "/session", {"capabilities": {"alwaysMatch": {
            "browserName": "chrome", "acceptInsecureCerts": True, "goog:loggingPrefs": {"browser": "ALL"},
            "goog:chromeOptions": {"args": arguments}}}})
        self.base += "/session/" + answer["sessionId"]
        self.call("POST", "/timeouts", {"script": 240000})
        self.devtools("Performance.enable", timeDomain="threadTicks")

    def call(self, method, path, body=None):
        request = urllib.request.Request(self.base + path, method=method, headers={"Content-Type": "application/json"},
                                         data=None if body is None else json.dumps(body).encode())
        try:
            # Not through a proxy of the environment.
            with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=300) as reply:
                return json.load(reply)["value"]
        except urllib.error.HTTPError as e:
            raise AssertionError("%s %s: %s" % (method, path, e.read()[:600].decode())) from None

    def go(self, url):
        self.call("POST", "/url", {"url": url})

    def run(self, script, *arguments):
        return self.call("POST", "/execute/sync", {"script": script, "args": list(arguments)})

    def run_until_called(self, script, *arguments):
        """The script's last argument is a function that it calls with its result."""
        return self.call("POST", "/execute/async", {"script": script, "args": list(arguments)})

    def find(self, selector):
        return self.call("POST", "/element", {"using": "css selector", "value": selector})[ELEMENT]

    def text(self, selector):
        return self.run("const e = document.querySelector(arguments[0]); return e && e.innerText", selector)

    def is_shown(self, selector):
        return self.run("const e = document.querySelector(arguments[0]); return Boolean(e && e.checkVisibility())", selector)

    def type(self, selector, text):
        self.call("POST", "/element/%s/value" % self.find(selector), {"text": text})

    def click(self, selector):
        self.call("POST", "/element/%s/click" % self.find(selector), {})

    def press(self, *keys):
        """As a person does, wherever the focus is."""
        actions = [{"type": kind, "value": key} for key in keys for kind in ("keyDown", "keyUp")]
        self.call("POST", "/actions", {"actions": [{"type": "key", "id": "keyboard", "actions": actions}]})

    def devtools(self, command, **parameters):
        return self.call("POST", "/goog/cdp/execute", {"cmd": command, "params": parameters})

    def work(self):
        """Milliseconds of a processor that the page's main thread has used."""
        metrics = self.devtools("Performance.getMetrics")["metrics"]
        return 1000 * next(m["value"] for m in metrics if m["name"] == "TaskDuration")

    def look(self, width, height, dark=False, scale=1, phone=False):
        self.devtools("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=scale, mobile=phone)
        self.devtools("Emulation.setEmulatedMedia", features=[
            {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}])

    def screenshot(self, path):
        with open(path, "wb") as f:
            f.write(base64.b64decode(self.call("GET", "/screenshot")))

    def complaints(self):
        """What the console says of errors since the last question; not of requests that were refused."""
        return [e["message"] for e in self.call("POST", "/se/log", {"type": "browser"})
                if e["level"] == "SEVERE" and "with a status of 40" not in e["message"]]

    def wait(self, condition, seconds=30):
        end = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < end, ("waited in vain", self.text("body")[:2000])
            time.sleep(0.05)

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        try:
            self.call("DELETE", "")
        finally:
            self.driver.terminate()
            self.driver.wait(20)
            self.driver.stdout.close()
            self.profile.cleanup()


KEY = {"enter": "\ue007", "escape": "\ue00c", "tab": "\ue004", "down": "\ue015", "page down": "\ue00f"}
