"""Load verification: schedule (when) -> driver (do) -> recorder (measure) -> health (is it evidence) ->
verdict (pure) -> report. Locust runs the users, in processes of its own; the parent decides from files."""
