"""What was measured, as it lies on disk: records, the results folder, the long table, the roof over a point."""
