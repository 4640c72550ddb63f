"""Plan, run and resume a study; its short cuts; its notebooks run headless."""
