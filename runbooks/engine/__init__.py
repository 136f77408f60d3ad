"""The runbook engine: parse (Markdown), check (refuse what is unsafe), run (processes), journal (what came).

`check.load` is the door: it reads a file and gives a checked `Runbook`, or says all that is wrong with it.
"""
