"""Arrays and tables into estimates with intervals, and estimates into words."""
