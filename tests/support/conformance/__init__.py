"""What the conformance tests are made of: cases, scripted upstreams, the two sides, and comparing."""
