"""The rooms behind `n2n shard`: a plan, whole shards in a pool of processes, what is said of them."""
