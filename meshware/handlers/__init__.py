"""Which function of an app would run for a request, as the app's own framework says."""
