"""What stewards do at a terminal: look at why, answer about pairs, decide, undo."""
