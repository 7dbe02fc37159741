"""The conformance tests' parts: cases, scripted upstreams, the two sides, and comparing."""
