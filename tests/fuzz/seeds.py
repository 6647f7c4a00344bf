#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Fills a fuzzer's seed folder: every "hex" of JSON files, every file of folders.

Usage: seeds.py FOLDER (FILE.json | FOLDER)...
"""
import json
import os
import shutil
import sys


def hexes(node):
    if isinstance(node, dict):
        if isinstance(node.get("hex"), str):
            yield node["hex"]
        for value in node.values():
            yield from hexes(value)
    elif isinstance(node, list):
        for value in node:
            yield from hexes(value)


def unpack(name, folder):
    with open(name, encoding="utf-8") as source:
        for number, text in enumerate(hexes(json.load(source))):
            seed = "%s-%04d" % (os.path.basename(name), number)
            with open(os.path.join(folder, seed), "wb") as out:
                out.write(bytes.fromhex(text))


def main():
    folder = sys.argv[1]
    os.makedirs(folder, exist_ok=True)
    for source in sys.argv[2:]:
        if os.path.isdir(source):
            for name in os.listdir(source):
                shutil.copyfile(os.path.join(source, name), os.path.join(folder, name))
        else:
            unpack(source, folder)


if __name__ == "__main__":
    main()
