"""What agreement is worth: the model of pairs, trained without labels, corrected by them, watched and drawn."""
