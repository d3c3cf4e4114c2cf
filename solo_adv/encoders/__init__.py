"""Networks from pixels to features: building them, and finding and loading their checkpoints."""
