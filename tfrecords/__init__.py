"""What is on disk: examples, shards, label tables. FORMAT.md is the specification."""
