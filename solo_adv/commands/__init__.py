"""The commands of the package: thin, each a parser and one call of the library."""
