"""What people and programs read of a run: `verdict.json` and one HTML page, made from its recording alone."""
