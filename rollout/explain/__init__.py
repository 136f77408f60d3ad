"""Why a rollout was decided as it was: every number that decided, from the evidence itself."""
