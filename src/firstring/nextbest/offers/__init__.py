"""What to offer: a catalogue, ranked for each person by what they bought, looked at and searched for."""
