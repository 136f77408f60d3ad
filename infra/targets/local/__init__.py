"""The local target: the whole stack as processes on this machine."""
