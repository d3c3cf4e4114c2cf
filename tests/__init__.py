"""Makes ``tests`` a package, so that processes started by tests do not import solo-learn's."""
