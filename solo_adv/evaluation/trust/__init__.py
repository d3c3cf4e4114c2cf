"""Whether an evaluation can be believed: what is probed, and the alarms."""
