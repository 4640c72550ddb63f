"""What may be asked of a study: hardware sets, efforts, options, and the validated parameters of one study.

Everything is frozen and checked when it is read; creating a parameter object does nothing else. Names are imported from their own
modules, so that a process that is measured loads no reader of YAML.
"""
