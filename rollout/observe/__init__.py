"""A release that somebody else shifts: judged, nothing moved. What huidu would have done, and when."""
