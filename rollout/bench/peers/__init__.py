"""What today's canary tools would decide on the same evidence: Flagger, Argo Rollouts, Kayenta."""
