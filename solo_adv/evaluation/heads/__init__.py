"""What classifies the features: kNN, a linear head, or the fine-tuned whole."""
