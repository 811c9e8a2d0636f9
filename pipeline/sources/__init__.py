"""What there is to shard, and its bytes: folders, lists, tar and zip archives, read where they lie."""
