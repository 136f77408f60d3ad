"""Where generators run: `local` starts them as processes of this machine."""
