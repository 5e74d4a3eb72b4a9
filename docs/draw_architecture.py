"""The picture of the architecture, drawn from the imports that `tests/test_architecture.py` checks."""

from collections.abc import Iterator
from graphlib import TopologicalSorter
from html import escape
from pathlib import Path
from typing import Any

from tests.test_architecture import FLOORS, SOURCES, file_graph, room_of

WIDTH, ROW, BOX = 960, 92, (104, 36)
STYLE = """
  text { font: 14px system-ui, sans-serif; fill: #1b1b1f; text-anchor: middle; }
  .floor { fill: #f4f4f6; } .floor-name { font-size: 11px; fill: #63636b; text-anchor: start; }
  .room { fill: #fff; stroke: #1f5fa8; } .arrow { fill: none; stroke: #8a8a94; stroke-width: 1.2; }
"""


def room_graph() -> dict[str, set[str]]:
    """Return which rooms each room imports."""
    rooms = {room for floor in FLOORS.values() for room in floor}
    graph: dict[str, set[str]] = {room: set() for room in rooms}
    for name, others in file_graph(SOURCES).items():
        room = room_of(name).removesuffix(".py")
        graph[room] |= {room_of(other).removesuffix(".py") for other in others} - {room}
    return graph


def without_shortcuts(graph: dict[str, set[str]]) -> dict[str, set[str]]:
    """Return the fewest arrows with the same paths: none that a longer way already says."""
    reach: dict[str, set[str]] = {}
    for room in TopologicalSorter(graph).static_order():
        reach[room] = graph[room].union(*(reach[other] for other in graph[room]))
    return {
        room: {other for other in others if not any(other in reach[middle] for middle in others)}
        for room, others in graph.items()
    }


def places() -> dict[str, tuple[float, float]]:
    """Return where the middle of each room's box lies, the highest floor on top."""
    return {
        room: (WIDTH * (index + 0.5) / len(rooms), ROW * (row + 0.5))
        for row, rooms in enumerate(map(sorted, reversed(FLOORS.values())))
        for index, room in enumerate(rooms)
    }


def way(start: tuple[float, float], stop: tuple[float, float]) -> str:
    """Return the curve of an arrow: it leaves and enters a box on the side of the other one."""
    (x, y), (u, v), (width, height) = start, stop, BOX
    if y == v:
        side = width / 2 if u > x else -width / 2
        return f"M{x + side:.0f} {y:.0f} L{u - side - 5 * (u > x) + 5 * (u < x):.0f} {v:.0f}"
    lean = 0.42 * width * max(-1.0, min(1.0, (u - x) / width))
    lean = lean if abs(u - x) > 1 or v - y < 1.5 * ROW else -0.42 * width
    x, y, u, v = x + lean, y + height / 2, u - lean, v - height / 2 - 5
    if abs(u - x) > abs(stop[0] - start[0]):
        u = stop[0] + lean
    return f"M{x:.0f} {y:.0f} C{x:.0f} {y + 46:.0f} {u:.0f} {v - 46:.0f} {u:.0f} {v:.0f}"


def draw() -> Iterator[str]:
    """Yield the elements of the picture."""
    at, (width, height) = places(), BOX
    for row, name in enumerate(reversed(FLOORS)):
        yield f'<rect class="floor" x="0" y="{row * ROW + 4}" width="{WIDTH}" height="{ROW - 8}" rx="8"/>'
        yield f'<text class="floor-name" x="10" y="{row * ROW + 20}">{escape(name)}</text>'
    for room, others in without_shortcuts(room_graph()).items():
        for other in others - FLOORS["ground"]:
            yield f'<path class="arrow" marker-end="url(#head)" d="{way(at[room], at[other])}"/>'
    for room, (x, y) in at.items():
        yield (
            f'<rect class="room" x="{x - width / 2:.0f}" y="{y - height / 2:.0f}" width="{width}" '
            f'height="{height}" rx="6"/><text x="{x:.0f}" y="{y + 5:.0f}">{escape(room)}</text>'
        )


def write_picture(path: Path) -> None:
    """Write the picture as SVG."""
    size = f'viewBox="0 0 {WIDTH} {ROW * len(FLOORS)}" width="{WIDTH}" height="{ROW * len(FLOORS)}"'
    head = (
        '<marker id="head" viewBox="0 0 8 8" refX="4" refY="4" markerWidth="7" markerHeight="7" '
        'orient="auto"><path d="M0 0L8 4L0 8z" fill="#8a8a94"/></marker>'
    )
    lines = [f'<svg xmlns="http://www.w3.org/2000/svg" {size}>', f"<style>{STYLE}</style><defs>{head}</defs>"]
    lines += [f'<rect width="{WIDTH}" height="{ROW * len(FLOORS)}" fill="#fff"/>', *draw(), "</svg>"]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def setup(app: Any) -> dict[str, bool]:
    """Draw before Sphinx reads the pages."""
    picture = Path(__file__).parent / "images" / "architecture.svg"
    app.connect("builder-inited", lambda _: write_picture(picture))
    return {"parallel_read_safe": True}
