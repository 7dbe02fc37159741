"""Tables on a terminal that keep themselves current: `meshware top`."""
