"""Did it help? Statistics of comparisons: sample sizes, differences, bounds that may be looked at any time, other policies."""
