"""What stands behind a backbone that does not classify: decoders of segmenters."""
