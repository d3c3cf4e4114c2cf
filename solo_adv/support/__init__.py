"""General tools with nothing specific to the field: errors, checks, files, processes, progress."""
