"""Every relative link in the repository's Markdown leads to a file that is there, and its anchor to a heading. No network.

Usage: python scripts/check_links.py [FOLDER]. Exit code 1 with a line for each broken link: file:line: link: what is missing.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from functools import cache
from itertools import pairwise
from pathlib import Path
from urllib.parse import unquote

from markdown_it import MarkdownIt
from markdown_it.token import Token

_PARSER = MarkdownIt("commonmark").enable("table")


def main(folder: Path) -> int:
    problems = [problem for page in pages(folder) for problem in broken_links(page)]
    print(*problems, sep="\n", end="\n" if problems else "")
    return 1 if problems else 0


def pages(folder: Path) -> list[Path]:
    """What git keeps or would keep; all files where there is no git."""
    command = ["git", "-C", str(folder), "ls-files", "-z", "--cached", "--others", "--exclude-standard", "*.md"]
    listed = subprocess.run(command, capture_output=True, text=True, check=False)
    found = (
        [folder / name for name in listed.stdout.split("\0") if name]
        if listed.returncode == 0
        else folder.rglob("*.md")
    )
    return sorted({page for page in found if page.is_file()})


def broken_links(page: Path) -> Iterator[str]:
    """Of one page; links with a scheme (https:, mailto:) are left alone."""
    for line, link in links(page):
        if re.match(r"[a-z][a-z0-9+.-]*:|//", link):
            continue
        name, _, anchor = unquote(link).partition("#")
        target = page.parent / name if name else page
        if not target.exists():
            yield f"{page}:{line}: {link}: no such file"
        elif anchor and target.suffix == ".md" and anchor not in anchors(target):
            yield f"{page}:{line}: {link}: no heading makes #{anchor}"


def links(page: Path) -> Iterator[tuple[int, str]]:
    for line, part in _parts(page):
        if part.type in ("html_block", "html_inline"):
            yield from ((line, link) for link in re.findall(r"""\b(?:href|src)=["']([^"']+)["']""", part.content))
        elif part.type in ("link_open", "image"):
            yield line, str(part.attrGet("href") or part.attrGet("src"))


@cache
def anchors(page: Path) -> set[str]:
    """Of the headings, as GitHub makes them: lower case, no punctuation, a hyphen for each space, -1 for the second of a name."""
    found: set[str] = set()
    seen: Counter[str] = Counter()
    for _, part in _parts(page):
        if part.type in ("html_block", "html_inline"):
            found |= set(re.findall(r"""\b(?:id|name)=["']([^"']+)["']""", part.content))
    for block, content in pairwise(_blocks(page)):
        if block.type == "heading_open":
            text = "".join(part.content for part in content.children or [] if part.type in ("text", "code_inline"))
            slug = re.sub(r"[^\w\- ]", "", text.strip().lower()).replace(" ", "-")
            found.add(f"{slug}-{seen[slug]}" if seen[slug] else slug)
            seen[slug] += 1
    return found


def _parts(page: Path) -> Iterator[tuple[int, Token]]:
    """What blocks are made of, and blocks of HTML; with the line at which the block begins."""
    for block in _blocks(page):
        line = block.map[0] + 1 if block.map else 0
        yield from ((line, part) for part in block.children or [block])


def _blocks(page: Path) -> list[Token]:
    return _PARSER.parse(page.read_text(encoding="utf-8"))


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).resolve().parent.parent))
