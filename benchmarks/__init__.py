"""What the mesh costs, beside the same work without it, measured in one run. Asserts nothing."""
