"""What calls come to, told to people and machines: metrics, traces, access logs."""
