"""`meshware run -- CMD`: the mesh in programs that know nothing of it."""
