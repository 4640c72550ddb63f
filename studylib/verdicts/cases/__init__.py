"""What each case study decides, from its stored result alone."""
