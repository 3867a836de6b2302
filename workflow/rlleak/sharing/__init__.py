"""What leaves the device: gradients, captured, and kept apart from what stays private."""
