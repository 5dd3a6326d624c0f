"""What a model's outputs are worth: metrics, each equal to the published procedure of its task."""
