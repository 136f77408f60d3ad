"""The controller: a pure decision (`reconcile`), state folded from the journal (`fold`), the loop (`run`)."""
