"""Everything that people read: tables, figures, the report page."""
