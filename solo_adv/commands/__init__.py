"""The commands of the package. Each parses its arguments and calls one function of the library."""
