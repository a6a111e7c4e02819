"""What things are: plain frozen values, a file a noun; standard library only."""
