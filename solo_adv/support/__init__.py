"""Tools that know nothing of the field: errors, checks, files, processes, progress."""
