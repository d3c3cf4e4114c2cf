"""Networks from pixels to features: how they are built, saved, found again and loaded."""
