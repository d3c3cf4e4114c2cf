"""A package, so that processes which tests start do not take solo-learn's for it."""
