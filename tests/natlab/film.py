# natrelay
# SPDX-License-Identifier: LGPL-2.1-or-later
"""The film that `rival` sends."""
import os
import subprocess


def film(seconds, folder):
    """Longer than what is counted, for those who need time to connect. Made once for a folder."""
    path = os.path.join(folder, "film-%d.mkv" % seconds)
    if not os.path.exists(path):
        length = seconds + 60
        line = ("videotestsrc num-buffers=%d pattern=ball motion=hsweep background-color=0xff203040 ! "
                "video/x-raw,width=640,height=360,framerate=30/1 ! x264enc tune=zerolatency "
                "speed-preset=ultrafast key-int-max=30 bitrate=1200 threads=1 ! h264parse ! queue ! mux. "
                "audiotestsrc num-buffers=%d wave=pink-noise samplesperbuffer=960 ! "
                "audio/x-raw,rate=48000,channels=1 ! opusenc ! queue ! matroskamux name=mux ! "
                "filesink location=%s" % (length * 30, length * 50, path + ".part"))
        subprocess.run(["gst-launch-1.0", "-q", *line.split()], check=True, timeout=600)
        os.rename(path + ".part", path)
    return path
