"""Small real models on this machine, from wheels of the package index: for `make record-real`, never in CI."""
