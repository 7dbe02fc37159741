"""TLS for the servers that run apps: one module for each, named like it.

Each has `install()`, which makes every server of that kind in this process speak as policy says,
and the public seams of that server for those who would rather configure it.
"""
