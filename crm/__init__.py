"""The reference CRM: what is provisioned, loaded, released and rolled back. Knows nothing of huidu."""
