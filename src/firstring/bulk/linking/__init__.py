"""Files linked without a store: plan, train, compare, cluster, write."""
