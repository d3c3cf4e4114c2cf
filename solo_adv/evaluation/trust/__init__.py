"""Probes and alarms that show whether an evaluation can be trusted."""
