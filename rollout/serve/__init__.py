"""The live page: journals (read, never written) -> story -> drawing, words (all pure) -> HTML, streamed."""
