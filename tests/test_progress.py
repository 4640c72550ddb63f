from studylib.progress import Progress, duration


def test_lines_count_and_estimate_the_rest():
    lines, now = [], [0.0]
    progress = Progress("trial", [1] * 4, lines.append, lambda: now[0])
    for label in "abcd":
        progress.begin(label)
        now[0] += 30
        progress.end()
    assert lines[:2] == ["trial 1 of 4: a", "trial 2 of 4: b, about 1 min 30 s left"]
    assert lines[-1] == "trial: 4 done in 2 min 0 s"


def test_a_heavy_first_step_does_not_frighten():
    lines, now = [], [0.0]
    progress = Progress("artifact", [20, 1, 1], lines.append, lambda: now[0])
    progress.begin("training")
    now[0] = 60
    progress.end()
    progress.begin("conversion")
    assert lines[-1] == "artifact 2 of 3: conversion, about 6 s left"


def test_fast_steps_do_not_flood_a_log():
    lines = []
    progress = Progress("trial", [1] * 500, lines.append, lambda: 0.0)
    for _ in range(500):
        progress.begin("x")
        progress.end()
    assert len(lines) == 2


def test_duration():
    assert [duration(5), duration(65)] == ["5 s", "1 min 5 s"]
