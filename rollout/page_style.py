"""What the pages of this room share: colours for light and dark, wide and narrow; plain SVG, no scripts."""

from pathlib import Path

STYLE = Path(__file__).with_name("page_style.css").read_text(encoding="utf-8")
