"""One callback, one file. Together they turn a Lightning fit into a growing run."""
