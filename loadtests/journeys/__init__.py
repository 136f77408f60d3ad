"""What visitors do, one file per channel of the reference CRM; `http.py` runs what a profile states."""
