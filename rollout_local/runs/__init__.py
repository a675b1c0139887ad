"""Makes it happen: the only place that composes targets, verifiers, search, recordings and the store."""
