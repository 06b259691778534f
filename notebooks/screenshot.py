"""Take the picture of the dashboard again: ``python notebooks/screenshot.py STORE``.

Needs playwright and Chromium (``/usr/bin/chromium``, or the one that playwright installs).
"""

from __future__ import annotations

import argparse
import io
import subprocess
import sys
import time
import urllib.request
from contextlib import suppress
from pathlib import Path

from PIL import Image
from playwright.sync_api import TimeoutError, sync_playwright

PICTURE = Path(__file__).resolve().parent / "pictures" / "dashboard.png"
CHROMIUM = Path("/usr/bin/chromium")


def photograph(address: str, picture: Path) -> None:
    """Save what a browser shows at an address of the dashboard, in 128 colours."""
    with sync_playwright() as playwright:
        own = {"executable_path": str(CHROMIUM)} if CHROMIUM.exists() else {}
        browser = playwright.chromium.launch(args=["--no-sandbox", "--disable-gpu"], **own)
        page = browser.new_page(viewport={"width": 1280, "height": 760})
        page.goto(address)
        page.get_by_text("trihard").first.wait_for(timeout=120_000)
        for button in page.locator("button[aria-label*=lose]").all():  # the assistant and the notice of a shared view
            with suppress(TimeoutError):
                button.click(timeout=2_000)
        page.wait_for_timeout(2_000)  # columns settle
        pixels = Image.open(io.BytesIO(page.screenshot()))
        browser.close()
    pixels.convert("RGB").quantize(128, dither=Image.Dither.NONE).save(picture, optimize=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("store", type=Path, help="of notebook 01's study, or any that tuned trihard")
    parser.add_argument("--port", type=int, default=5017)
    options = parser.parse_args()
    command = [sys.executable, "-m", "mlcompare.cli", "dashboard", str(options.store), "--port", str(options.port)]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        address = f"http://127.0.0.1:{options.port}"
        for _ in range(120):
            try:
                urllib.request.urlopen(f"{address}/health", timeout=5).read()
                break
            except OSError:
                time.sleep(0.5)
        photograph(f"{address}/#/experiments/1/runs?viewStateShareKey=trials&workflowType=machine_learning", PICTURE)
    finally:
        server.terminate()
        server.wait()


if __name__ == "__main__":
    main()
