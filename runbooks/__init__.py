"""Procedures that a person reads and the engine runs, and the page that shows what came of the main job."""
