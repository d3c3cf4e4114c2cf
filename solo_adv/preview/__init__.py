"""Draws what a config trains on: images, their crops, and the crops after the attack.

Run ``python -m solo_adv.preview --config-name cfamc.yaml data=digits``.
"""
