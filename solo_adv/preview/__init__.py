"""A picture of what a config trains on: images, their crops, and the crops as the adversary sees.

Run ``python -m solo_adv.preview --config-name cfamc.yaml data=digits``.
"""
