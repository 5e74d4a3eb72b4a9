"""A sweep's folder: results, settings, fingerprints, one driver at a time."""
