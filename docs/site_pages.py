"""Hooks of mkdocs: pages that do not lie in docs/, links between all pages, and fresh pictures."""

import json
import pathlib
import re
import shutil
import subprocess
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

# Page of the site -> file of the project.
_PAGES = {
    "overview.md": "README.md",
    "CONTRIBUTING.md": "CONTRIBUTING.md",
    "CHANGELOG.md": "CHANGELOG.md",
    "first_prediction.md": "examples/first_prediction.ipynb",
}
_BROWSERS = ("chromium", "chromium-browser", "google-chrome")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds the pages."""
    for page, source in _PAGES.items():
        text = pathlib.Path(source).read_text(encoding="utf-8")
        content = _page_of(json.loads(text)) if source.endswith(".ipynb") else text
        files.append(File.generated(config, page, content=content))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Makes links from the top level to docs/, and from docs/ to the top level, links inside the site."""
    for page, source in _PAGES.items():
        markdown = re.sub(rf"\]\((\.\./)?{re.escape(source)}", f"]({page}", markdown)
    return re.sub(r"\]\((\.\./)?docs/", "](", markdown)


def on_post_build(config: MkDocsConfig) -> None:
    """Takes the pictures of the pages in pictures/ anew if there is a browser."""
    browser = next(filter(None, map(shutil.which, _BROWSERS)), None)
    for page in pathlib.Path(config.site_dir, "pictures").resolve().glob("*.html") if browser else ():
        options = ["--headless", "--no-sandbox", "--hide-scrollbars", "--window-size=1000,1180"]
        target = f"--screenshot={page.with_suffix('.png')}"
        subprocess.run([browser, *options, target, page.as_uri()], capture_output=True, timeout=60)


def _page_of(notebook: dict[str, Any]) -> str:
    """A notebook as Markdown: its texts, its code, and what the code prints."""
    parts = []
    for cell in notebook["cells"]:
        source = "".join(cell["source"])
        parts.append(f"```python\n{source}\n```" if cell["cell_type"] == "code" else source)
        parts += [f"```text\n{''.join(output['text'])}```" for output in cell.get("outputs", [])]
    return "\n\n".join(parts)
