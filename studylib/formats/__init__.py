"""One file format each: recognise it, open it safely, look inside it."""
