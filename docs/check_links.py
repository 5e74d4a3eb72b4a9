"""Every link within the built site leads to a page and a place: `python docs/check_links.py build/site`."""

import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit


class Page(HTMLParser):
    """The places on a page and what it points to."""

    def __init__(self, path: Path):
        super().__init__()
        self.places: set[str] = {"", "top"}
        self.targets: list[str] = []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, _tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note ids and links."""
        for name, value in attrs:
            if name in ("id", "name") and value:
                self.places.add(value)
            if name in ("href", "src") and value:
                self.targets.append(value)


def find_broken(site: Path) -> list[str]:
    """Return every link within the site that leads nowhere, after the page it stands on."""
    pages = {path.resolve(): Page(path) for path in site.rglob("*.html")}
    broken = []
    for path, page in pages.items():
        for target in page.targets:
            parts = urlsplit(target)
            if parts.scheme or parts.netloc:
                continue
            goal = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            place = unquote(parts.fragment)
            if not goal.exists() or (goal in pages and place not in pages[goal].places):
                broken.append(f"{path.relative_to(site.resolve())}: {target}")
    return broken


if __name__ == "__main__":
    links = find_broken(Path(sys.argv[1]))
    sys.exit("\n".join(["links that lead nowhere:", *links]) if links else 0)
