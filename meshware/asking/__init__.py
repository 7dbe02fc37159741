"""Ask authorizers, for the inbound drivers: services over HTTP, and functions of the app."""
