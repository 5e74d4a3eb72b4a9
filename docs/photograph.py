"""Take the README's picture of a sweep's page: `PYTHONPATH=. python docs/photograph.py FOLDER` of a sweep.

The picture in docs/images is of `lltc demo`, whose sweep the README shows too: FOLDER is `lltc-demo/sweep`.
"""

import argparse
import tempfile
from pathlib import Path

import lltc
from tests.browsing import Browser

PAGE = Path(__file__).parent / "images" / "page.png"

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Photograph the page of a sweep with Debian's chromium.")
    parser.add_argument("folder", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary, Browser(Path(temporary)) as browser:
        page = lltc.Sweep.open(arguments.folder).report(Path(temporary) / "page.html")
        browser.open(page, width=1100, height=1000)
        browser.picture(PAGE, whole=False)
