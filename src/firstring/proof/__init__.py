"""Did it help? Statistics of comparisons: sample sizes, differences, bounds that hold at any time, other policies."""
