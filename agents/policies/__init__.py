"""Who acts: scripted, random, expert and model policies behind one protocol."""
