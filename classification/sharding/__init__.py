"""Steps in parts: what a shard is of its run, joining shards, and a cluster to run them."""
