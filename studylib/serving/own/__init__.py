"""A server of our own: one model, any runtime behind one front, on all wires. ``python -m studylib.serving.own --help``"""
