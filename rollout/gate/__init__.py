"""`huidu gate`: the verdict of something that is over, told the way pipelines read it."""
