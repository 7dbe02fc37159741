"""Who may do what, beside the real Envoy: policies, requests, both sides, what may differ."""
