"""Headless Chromium: whether it complains about a page, and what of the page it has drawn."""

import html
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

BROWSER = next(filter(shutil.which, ("chromium", "chromium-browser", "google-chrome")), None)

# What every figure that is shown looks like to the browser, left in an attribute of the page.
_LOOK = """
const twins = new Map();  // of the pictures inside drawings, which tell nothing of themselves
addEventListener("DOMContentLoaded", () => {
  for (const e of document.querySelectorAll("svg image")) {
    const twin = document.createElement("img");
    twin.src = e.getAttribute("href");
    twin.hidden = true;
    document.body.append(twin);
    twins.set(e, twin);
  }
});
addEventListener("load", () => {
  const seen = [];
  const size = (e) => { const b = e.getBoundingClientRect(); return [b.width, b.height]; };
  for (const e of document.querySelectorAll("svg.chart, img, table.matrix")) {
    if (!e.checkVisibility()) continue;
    const inner = [...e.querySelectorAll("path, rect, circle, image, td")];
    const pictures = e.matches("img") ? [e]
      : [...e.querySelectorAll("image")].map((i) => twins.get(i));
    seen.push({
      kind: e.tagName.toLowerCase(),
      name: e.getAttribute("aria-label") || e.alt || "",
      size: size(e),
      shapes: inner.filter((i) => size(i).some((side) => side > 0)).length,
      pictures: pictures.map((i) => i.complete ? i.naturalWidth : 0),
      text: [...e.querySelectorAll("text")].every((t) => size(t).every((side) => side > 0)),
    });
  }
  document.body.dataset.seen = JSON.stringify({
    scrolls: [...document.querySelectorAll(".scroll")]
      .filter((e) => e.scrollWidth > e.clientWidth).map((e) => e.getAttribute("aria-label")),
    seen, wide: document.documentElement.scrollWidth - innerWidth,
  });
});
"""


def _run(folder: Path, address: str, *more: str, width: int) -> subprocess.CompletedProcess[str]:
    options = (
        "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-sync "
        "--disable-background-networking --disable-component-update --enable-logging=stderr "
        f"--window-size={width},2000 --user-data-dir={folder / 'profile'}"
    ).split()
    command = [str(BROWSER), *options, *more, address]
    return subprocess.run(command, capture_output=True, text=True, timeout=90, check=True)


def complaints(page: Path, folder: Path) -> list[str]:
    """What the console says when the page is opened as it is; a picture of it is taken."""
    picture = folder / "page.png"
    shot = _run(folder, page.as_uri(), f"--screenshot={picture}", width=1280)
    assert picture.read_bytes()[:4] == b"\x89PNG"
    return [line for line in shot.stderr.splitlines() if ":CONSOLE" in line]


def seen(page: Path, folder: Path, *, width: int = 1280) -> dict[str, Any]:
    """What the browser shows of every figure, in a copy that allows a script to look.

    Under `seen`, for each figure: its kind, name and size, how many shapes in it have a size, the
    widths of its pictures (0 where one cannot be decoded), and whether all its texts have a size.
    Under `scrolls`, the names of the tables that have no room in it, and under `wide`, by how many
    pixels the page is wider than the window.
    """
    text = page.read_text(encoding="utf-8")
    text = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", text)
    copy = folder / "copy.html"
    copy.write_text(text.replace("</head>", f"<script>{_LOOK}</script></head>"), encoding="utf-8")
    dumped = _run(folder, copy.as_uri(), "--dump-dom", width=width)
    (data,) = re.findall(r'data-seen="([^"]*)"', dumped.stdout)
    result: dict[str, Any] = json.loads(html.unescape(data))
    return result


def not_drawn(found: dict[str, Any]) -> list[dict[str, Any]]:
    """The figures of which something is missing."""
    return [
        figure
        for figure in found["seen"]
        if min(figure["size"]) <= 0
        or not all(figure["pictures"])
        or (figure["kind"] != "img" and figure["shapes"] < 1)
        or not figure["text"]
    ]
