"""Does it help? Randomised trials of two ways to route, guard rails, their result; regret, time saved, fairness."""
